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
pub(crate) const KEPT: &str = "portcullis-only-through-the-egress-proxy";
/// Value of the label of a namespace that gets one.
const ENFORCED: &str = "enforced";
/// Labels that say whose an object is ("Recommended Labels" of Kubernetes).
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "portcullis");
const INSTANCE: &str = "app.kubernetes.io/instance";
/// The annotation with the key of the label that it is there for.
const LABEL_KEY: &str = "portcullis.dev/egress-label";

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
    /// Namespaces with the label whose policy another gateway keeps.
    pub(super) of_others: Vec<String>,
    /// Namespaces that have the label by another key, under which theirs came to be.
    pub(super) by_other_key: Vec<String>,
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
            let has_label = |key: &str| labels.get(key).is_some_and(|value| value == ENFORCED);
            let is_never = self.is_never(namespace);
            if has_label(self.label) && is_never {
                look.never.push(namespace.clone());
            }
            let is_labelled = has_label(self.label) && !is_never;
            // Nothing can be written there, and what is there goes with it.
            if *ends {
                continue;
            }
            let stands = known.policies.get(namespace);
            match (is_labelled, stands) {
                (true, Some(stands)) if self.is_of_another(stands) => {
                    look.missing += 1;
                    look.of_others.push(namespace.clone());
                }
                (true, stands) => {
                    let wanted = self.policy(namespace);
                    if stands.is_some_and(|stands| is_as(stands, &wanted)) {
                        look.kept += 1;
                    } else {
                        look.missing += 1;
                        look.steps.push(Step::Write(Box::new(wanted)));
                    }
                }
                // Another key in the settings is no label that was taken away.
                (false, Some(stands))
                    if !is_never
                        && self.is_ours(stands)
                        && label_key(stands).is_some_and(has_label) =>
                {
                    look.by_other_key.push(namespace.clone());
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
        let key = (LABEL_KEY.to_owned(), self.label.to_owned());
        policy.metadata.annotations = Some([key].into());
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

    /// Whether another gateway keeps it: the two would write it over and over.
    fn is_of_another(&self, policy: &NetworkPolicy) -> bool {
        let labels = policy.metadata.labels.as_ref();
        let of = |key| labels.and_then(|labels| labels.get(key));
        let (managed_by, ours) = MANAGED_BY;
        of(managed_by).is_some_and(|by| by == ours)
            && of(INSTANCE).is_some_and(|instance| instance != self.instance)
    }
}

/// The key of the label that a policy is there for.
fn label_key(policy: &NetworkPolicy) -> Option<&str> {
    let annotations = policy.metadata.annotations.as_ref()?;
    annotations.get(LABEL_KEY).map(String::as_str)
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
        && label_key(stands) == label_key(wanted)
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
