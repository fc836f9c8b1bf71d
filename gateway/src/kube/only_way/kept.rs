//! Which NetworkPolicies are to be written and which to go, of what is known of a cluster.
//!
//! Namespaces with the label get one, those without it lose ours, and nobody else's is touched.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{core::v1::Namespace, networking::v1::NetworkPolicy},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use portcullis_config::model::{self, KeptNetworkPolicies};

use super::{Dns, InCluster, OnlyWay, namespace_policy};
use crate::kube::OF_CLUSTER;

/// Name of the NetworkPolicies that are kept. Those that `portcullis egress netpol` prints have another:
/// they are somebody's own.
pub(in crate::kube) const KEPT: &str = "portcullis-only-through-the-egress-proxy";
/// Value of the label of a namespace that gets one.
const ENFORCED: &str = "enforced";
/// Labels that say whose an object is ("Recommended Labels" of Kubernetes).
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "portcullis");
const INSTANCE: &str = "app.kubernetes.io/instance";

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Labels of each namespace, and whether it is going away.
    pub(super) namespaces: BTreeMap<String, (BTreeMap<String, String>, bool)>,
    /// The NetworkPolicies of our name, by namespace.
    pub(super) policies: BTreeMap<String, NetworkPolicy>,
}

/// What is to be.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Key of the label of namespaces.
    pub(super) label: &'a str,
    /// What stays open.
    pub(super) way: OnlyWay,
    /// The namespace of this gateway: other gateways keep what is theirs.
    pub(super) instance: &'a str,
}

/// One step to what is to be.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The policy is missing or is another.
    Write(Box<NetworkPolicy>),
    /// The namespace has no label any more. With the UID that is known, or one that is made anew would go.
    Remove {
        namespace: String,
        uid: Option<String>,
    },
}

/// What a look at a cluster comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Look {
    /// The steps, by namespace.
    pub(super) steps: Vec<Step>,
    /// Namespaces whose policy stands as it should.
    pub(super) kept: usize,
    /// Namespaces whose policy does not.
    pub(super) missing: usize,
    /// Namespaces with the label that never get one.
    pub(super) never: Vec<String>,
}

impl Known {
    /// Takes a namespace in.
    pub(super) fn see(&mut self, namespace: Namespace) {
        let ObjectMeta {
            name,
            labels,
            deletion_timestamp,
            ..
        } = namespace.metadata;
        let seen = (labels.unwrap_or_default(), deletion_timestamp.is_some());
        self.namespaces.insert(name.unwrap_or_default(), seen);
    }
}

impl Step {
    /// The namespace that it is in.
    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Write(policy) => policy.metadata.namespace.as_deref().unwrap_or_default(),
            Self::Remove { namespace, .. } => namespace,
        }
    }
}

impl Wanted<'_> {
    /// Looks at what is known.
    pub(super) fn look(&self, known: &Known) -> Look {
        let mut look = Look::default();
        for (namespace, (labels, ends)) in &known.namespaces {
            let is_labelled = labels
                .get(self.label)
                .is_some_and(|value| value == ENFORCED);
            if is_labelled && self.is_never(namespace) {
                look.never.push(namespace.clone());
                continue;
            }
            // Nothing can be written there, and what is there goes with it.
            if *ends {
                continue;
            }
            let stands = known.policies.get(namespace);
            match (is_labelled, stands) {
                (true, stands) => {
                    let wanted = self.policy(namespace);
                    if stands.is_some_and(|stands| is_as(stands, &wanted)) {
                        look.kept += 1;
                    } else {
                        look.missing += 1;
                        look.steps.push(Step::Write(Box::new(wanted)));
                    }
                }
                (false, Some(stands)) if self.is_ours(stands) => look.steps.push(Step::Remove {
                    namespace: namespace.clone(),
                    uid: stands.metadata.uid.clone(),
                }),
                (false, _) => {}
            }
        }
        look
    }

    /// Namespaces that the cluster or the proxy runs by: they would be cut off.
    fn is_never(&self, namespace: &str) -> bool {
        OF_CLUSTER.contains(&namespace)
            || namespace == self.instance
            || namespace == self.way.proxy_namespace
    }

    /// The policy of a namespace.
    fn policy(&self, namespace: &str) -> NetworkPolicy {
        let mut policy = namespace_policy::policy(&self.way, namespace);
        policy.metadata.name = Some(KEPT.to_owned());
        policy.metadata.labels = Some(self.labels());
        policy
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let (key, value) = MANAGED_BY;
        let pairs = [(key, value), (INSTANCE, self.instance)];
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    fn is_ours(&self, policy: &NetworkPolicy) -> bool {
        has(&policy.metadata, &self.labels())
    }
}

fn has(metadata: &ObjectMeta, labels: &BTreeMap<String, String>) -> bool {
    let known = metadata.labels.as_ref();
    labels
        .iter()
        .all(|(key, value)| known.and_then(|known| known.get(key)) == Some(value))
}

/// Whether a policy is as it should be. What it says of traffic to pods has no meaning where `policyTypes` is
/// Egress alone, and is not ours.
fn is_as(stands: &NetworkPolicy, wanted: &NetworkPolicy) -> bool {
    let (Some(spec), Some(wanted_spec)) = (&stands.spec, &wanted.spec) else {
        return false;
    };
    let labels = wanted.metadata.labels.clone().unwrap_or_default();
    stands.metadata.deletion_timestamp.is_none()
        && has(&stands.metadata, &labels)
        && spec.pod_selector == wanted_spec.pod_selector
        && spec.policy_types == wanted_spec.policy_types
        && spec.egress == wanted_spec.egress
}

/// What stays open by the settings; the proxy is where the gateway is unless they say otherwise.
pub(super) fn way(settings: &KeptNetworkPolicies, own_namespace: &str) -> OnlyWay {
    let proxy_namespace = settings.proxy_namespace.as_deref();
    OnlyWay {
        proxy_namespace: proxy_namespace.unwrap_or(own_namespace).to_owned(),
        proxy_labels: settings.proxy_labels.clone(),
        ports: settings.ports.clone(),
        dns: Dns {
            namespace: settings.dns_namespace.clone(),
            labels: settings.dns_labels.clone(),
            port: settings.dns_port,
        },
        allow_dns: settings.allow_dns,
        in_cluster: match settings.in_cluster {
            model::InCluster::Allow => InCluster::Allow,
            model::InCluster::Deny => InCluster::Deny,
        },
    }
}

#[cfg(test)]
mod tests;
