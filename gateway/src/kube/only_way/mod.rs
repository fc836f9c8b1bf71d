//! Manifests that leave pods one way out: through the egress proxy.
//!
//! ```text
//! OnlyWay -+-> NetworkPolicy of a namespace           adds to others of the namespace, which may open more
//!          \-> ClusterNetworkPolicy, tier Admin       nothing in a namespace opens more
//! ```
//!
//! Nothing but TCP to the pods of the proxy is open: UDP, and with it QUIC and DNS, is closed
//! because no rule names it. In both kinds ports are those of pods, not of Services: addresses of
//! Services are translated before policies are asked.

mod cluster_policy;
mod keeper;
mod kept;
mod kept_feed;
mod namespace_policy;
mod pace;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::keeper::Keeper;
pub(crate) use self::kept::KEPT;

/// Where the way out is, and what else stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyWay {
    /// Namespace of the proxy's pods.
    pub proxy_namespace: String,
    /// Labels of the proxy's pods, all of which they have.
    pub proxy_labels: BTreeMap<String, String>,
    /// TCP ports that the proxy's pods listen on.
    pub ports: BTreeSet<u16>,
    /// The pods that resolve names.
    pub dns: Dns,
    /// Whether these may be asked. Names can carry data out, and the proxy resolves by itself.
    pub allow_dns: bool,
    /// Whether pods may reach other pods of the cluster.
    pub in_cluster: InCluster,
}

/// The pods that resolve names in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
    /// The port that they listen on, over UDP and TCP.
    pub port: u16,
}

/// Whether pods may reach other pods of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InCluster {
    /// They may, other than those that resolve names.
    Allow,
    /// They reach the proxy alone.
    Deny,
}

/// The tier of a ClusterNetworkPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Tier {
    /// Before NetworkPolicies: none of them opens more.
    Admin,
    /// Behind them: it holds for pods that no NetworkPolicy selects.
    Baseline,
}

/// For which namespaces a ClusterNetworkPolicy is, and where it stands among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSubject {
    /// Labels of the namespaces, all of which they have.
    pub namespace_labels: BTreeMap<String, String>,
    /// Its tier.
    pub tier: Tier,
    /// Its priority there, 0 to 1000; the lowest is asked first.
    pub priority: u16,
}

/// Name of the manifests.
const NAME: &str = "only-through-the-egress-proxy";

/// Label of a namespace that the API server sets to its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

impl OnlyWay {
    /// Writes a NetworkPolicy for each namespace, and a ClusterNetworkPolicy where one is asked
    /// for, as YAML documents.
    ///
    /// # Errors
    /// A namespace that has the proxy in it, which would be cut off as well.
    pub fn manifests(
        &self,
        namespaces: &BTreeSet<String>,
        cluster: Option<&ClusterSubject>,
    ) -> anyhow::Result<String> {
        if namespaces.contains(&self.proxy_namespace) {
            anyhow::bail!(
                "the namespace {:?} is the proxy's own: its pods would reach nothing but themselves",
                self.proxy_namespace
            );
        }
        let mut text = self.head();
        for namespace in namespaces {
            let policy = namespace_policy::policy(self, namespace);
            text.push_str("---\n");
            text.push_str(namespace_policy::HEAD);
            text.push_str(&yaml(&policy)?);
        }
        if let Some(cluster) = cluster {
            text.push_str("---\n");
            text.push_str(&cluster_policy::head(self, cluster));
            text.push_str(&yaml(&cluster_policy::policy(self, cluster))?);
        }
        Ok(text)
    }

    fn head(&self) -> String {
        let names = match self.allow_dns {
            true => {
                "# DNS is open: names can carry data out, and no policy of the proxy sees them.\n"
            }
            false => {
                "# DNS is closed, since names can carry data out. The proxy resolves names itself; HTTPS_PROXY has to\n# name the address of its Service.\n"
            }
        };
        let inside = match self.in_cluster {
            InCluster::Allow => {
                "# Pods stay open to each other: one that has another way out can be used by all.\n"
            }
            InCluster::Deny => {
                "# Other pods are closed as well, also those of the same namespace (--in-cluster allow opens them).\n"
            }
        };
        format!(
            "# Printed by `portcullis egress netpol`. What pods may reach is the egress proxy alone, over TCP; all UDP\n# is closed, and with it QUIC. Ports are those of pods, not of a Service.\n# Pods with hostNetwork are not selected: they are as open as their node.\n{names}{inside}"
        )
    }
}

fn yaml(object: &impl serde::Serialize) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(object)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
