//! `--kubernetes`, and what says how a cluster is watched.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{ArgAction, Args, ValueEnum};

use super::manifests::ObjectArgs;
use crate::kube::{
    ClusterOptions, MAX_NAMED_SECRETS, Publish, ResourceName, SecretAccess, Webhook,
};

/// How a cluster is reached and watched.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ClusterArgs {
    /// Serve the objects of the Kubernetes cluster that this process is a pod of.
    #[arg(long, conflicts_with = "manifests")]
    kubernetes: bool,
    /// Where the cluster is and who we are, for a process that is no pod.
    #[arg(long, requires = "kubernetes", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Serve the objects of this namespace alone; may be given more than once.
    #[arg(long, requires = "kubernetes", value_name = "NAMESPACE")]
    watch_namespace: Vec<String>,
    /// Which Secrets are asked for: `all` watches all of them and keeps those that are referred
    /// to, `named` asks for those by name, so that a Role can name them.
    #[arg(
        long,
        requires = "kubernetes",
        value_enum,
        default_value_t,
        value_name = "WHICH"
    )]
    secrets: Secrets,
    /// Secrets that are read with `--secrets named`, at most, besides those that arguments name.
    /// Each costs a connection to the API server.
    #[arg(
        long,
        requires = "kubernetes",
        default_value_t = MAX_NAMED_SECRETS,
        value_name = "COUNT"
    )]
    max_named_secrets: usize,
    /// The Node that this process runs on: its zone is preferred where EndpointSlices have hints.
    #[arg(long, env = "NODE_NAME", hide_env_values = true, value_name = "NAME")]
    node_name: Option<String>,
    /// Write the addresses of this Service into the status of Ingresses.
    #[arg(
        long,
        requires = "kubernetes",
        group = "publish",
        value_name = "NAMESPACE/NAME"
    )]
    publish_service: Option<ResourceName>,
    /// Write these addresses into the status of Ingresses: IP addresses or names.
    #[arg(
        long,
        requires = "kubernetes",
        group = "publish",
        value_delimiter = ',',
        value_name = "ADDRESS[,ADDRESS]"
    )]
    publish_status_address: Vec<String>,
    /// Write the addresses of the Nodes that our pods run on into the status of Ingresses: the
    /// pods of our namespace with the labels of this one. External addresses, else internal ones.
    #[arg(long, requires = "kubernetes", group = "publish")]
    publish_node_addresses: bool,
    /// Whether statuses are written; `false` keeps hands off.
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    update_status: bool,
    /// Lease whose holder writes statuses and NetworkPolicies, in the namespace of the pod.
    #[arg(long, default_value = "portcullis-leader", value_name = "NAME")]
    election_id: String,
    /// Whether problems are told as Events of their objects.
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    events: bool,
    /// Serve EgressPolicies and ClusterEgressPolicies too, beside the policies of the settings.
    /// Their CustomResourceDefinitions are in deploy/crds; without them nothing is served.
    #[arg(long, requires = "kubernetes")]
    egress_policies: bool,
    /// Keep a NetworkPolicy that leaves pods no way but the egress proxy in namespaces with the label
    /// `portcullis.dev/egress: enforced`; `egress.workloads.networkPolicies` says what stays open. The
    /// replica that holds the Lease writes it.
    #[arg(long, requires = "kubernetes")]
    egress_network_policies: bool,
    /// Answer the API server here, when it asks whether an Ingress can be served, and what a pod is
    /// given for the egress proxy; see docs/kubernetes.md for the ValidatingWebhookConfiguration and
    /// docs/egress-workloads.md for the MutatingWebhookConfiguration.
    #[arg(long, requires_all = ["kubernetes", "webhook_certificate"], value_name = "ADDRESS")]
    webhook_address: Option<SocketAddr>,
    /// Secret with the certificate of `--webhook-address`.
    #[arg(long, requires = "webhook_address", value_name = "NAMESPACE/NAME")]
    webhook_certificate: Option<ResourceName>,
    /// Namespace of the pod that this process is.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        hide_env_values = true,
        value_name = "NAMESPACE"
    )]
    pod_namespace: Option<String>,
    /// Name of the pod that this process is; it is who holds the Lease. Default: the host name.
    #[arg(long, env = "POD_NAME", hide_env_values = true, value_name = "NAME")]
    pod_name: Option<String>,
}

/// Which Secrets are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Secrets {
    /// All, of which those are kept that are referred to.
    #[default]
    All,
    /// Each by its name.
    Named,
}

impl From<Secrets> for SecretAccess {
    fn from(secrets: Secrets) -> Self {
        match secrets {
            Secrets::All => Self::All,
            Secrets::Named => Self::Named,
        }
    }
}

impl ClusterArgs {
    /// How a cluster is watched, where one is to be.
    ///
    /// # Errors
    /// What is missing for what is asked for.
    pub(super) fn options(&self, objects: &ObjectArgs) -> anyhow::Result<Option<ClusterOptions>> {
        if !self.kubernetes {
            return Ok(None);
        }
        if let Some(wrong) = self
            .publish_status_address
            .iter()
            .find(|one| !is_address(one))
        {
            anyhow::bail!(
                "--publish-status-address: {wrong:?} is neither an IP address nor a name"
            );
        }
        let publish = self.publish().filter(|_| self.update_status);
        let writes_policies = self.egress_policies && self.update_status;
        if self.egress_network_policies && self.pod_namespace.is_none() {
            anyhow::bail!(
                "--egress-network-policies: the namespace of the Lease, which is never cut off, is not \
                 known; --pod-namespace or POD_NAMESPACE says it"
            );
        }
        if (publish.is_some() || writes_policies) && self.pod_namespace.is_none() {
            let asked = match publish {
                Some(_) => "--publish-...",
                None => "--egress-policies",
            };
            anyhow::bail!(
                "{asked}: the namespace of the Lease is not known; --pod-namespace or \
                 POD_NAMESPACE says it, or --update-status=false writes no status"
            );
        }
        if publish == Some(Publish::Nodes) && self.pod_name.is_none() {
            anyhow::bail!(
                "--publish-node-addresses: which pod this is is not known; \
                 --pod-name or POD_NAME says it"
            );
        }
        let mut namespaces = self.watch_namespace.clone();
        namespaces.sort();
        namespaces.dedup();
        Ok(Some(ClusterOptions {
            kubeconfig: self.kubeconfig.clone(),
            namespaces,
            secrets: self.secrets.into(),
            max_named_secrets: self.max_named_secrets,
            node: self.node_name.clone(),
            pod: ResourceName {
                namespace: self.pod_namespace.clone().unwrap_or_default(),
                name: self.pod_name.clone().unwrap_or_else(host_name),
            },
            events: self.events,
            egress_policies: self.egress_policies,
            egress_network_policies: self.egress_network_policies,
            api_server: api_server(),
            update_status: self.update_status,
            publish,
            election: self.election_id.clone(),
            webhook: self
                .webhook_address
                .zip(self.webhook_certificate.clone())
                .map(|(address, certificate)| Webhook {
                    address,
                    certificate,
                }),
            options: objects.options(),
        }))
    }

    fn publish(&self) -> Option<Publish> {
        match &self.publish_service {
            Some(service) => Some(Publish::Service(service.clone())),
            None if self.publish_node_addresses => Some(Publish::Nodes),
            None if self.publish_status_address.is_empty() => None,
            None => Some(Publish::Fixed(self.publish_status_address.clone())),
        }
    }
}

/// Whether a status may have it: an IP address, or a DNS name (RFC 1123 section 2.1).
fn is_address(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.parse::<std::net::IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(is_label))
}

/// The address of the API server's Service, as each pod is told it.
pub(super) fn api_server() -> Option<IpAddr> {
    std::env::var("KUBERNETES_SERVICE_HOST").ok()?.parse().ok()
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => format!("process-{}", std::process::id()),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_addresses_and_names() {
        for right in ["192.0.2.1", "fd00::1", "lb.example.com", "localhost"] {
            assert!(is_address(right), "{right}");
        }
        for wrong in ["", "192.0.2.1:80", "a_b", "-a.test", "LB.test", "a..test"] {
            assert!(!is_address(wrong), "{wrong:?}");
        }
    }
}
