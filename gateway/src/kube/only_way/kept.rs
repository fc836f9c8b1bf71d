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
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(port: u16) -> Wanted<'static> {
        let settings = KeptNetworkPolicies {
            proxy_namespace: Some("proxy".to_owned()),
            proxy_labels: BTreeMap::from([("app".to_owned(), "p".to_owned())]),
            ports: [port].into(),
            in_cluster: model::InCluster::Deny,
            allow_dns: false,
            dns_namespace: "kube-system".to_owned(),
            dns_labels: BTreeMap::new(),
            dns_port: 53,
        };
        Wanted {
            label: "test/egress",
            way: way(&settings, "gateway"),
            instance: "gateway",
        }
    }

    fn known(namespaces: &[(&str, &str)]) -> Known {
        let mut known = Known::default();
        for (name, value) in namespaces {
            let metadata = json!({ "name": name, "labels": { "test/egress": value } });
            let namespace = serde_json::from_value(json!({ "metadata": metadata }));
            known.see(namespace.expect("a Namespace"));
        }
        known
    }

    fn written(look: &Look) -> Vec<(&str, NetworkPolicy)> {
        let written = look.steps.iter().map(|step| match step {
            Step::Write(policy) => (step.namespace(), NetworkPolicy::clone(policy)),
            Step::Remove { .. } => panic!("{step:?}"),
        });
        written.collect()
    }

    #[test]
    fn labelled_namespaces_get_one_and_those_that_the_proxy_runs_by_never() {
        let all = [
            ("a", "enforced"),
            ("b", "injected"),
            ("c", ""),
            ("gateway", "enforced"),
            ("kube-system", "enforced"),
            ("proxy", "enforced"),
        ];
        let mut known = known(&all);
        let look = wanted(3128).look(&known);
        let steps = written(&look);
        assert_eq!((steps.len(), steps[0].0), (1, "a"));
        assert_eq!((look.kept, look.missing), (0, 1));
        assert_eq!(look.never, ["gateway", "kube-system", "proxy"]);
        known.policies.insert("a".into(), steps[0].1.clone());
        let look = wanted(3128).look(&known);
        assert_eq!((look.steps, look.kept, look.missing), (vec![], 1, 0));
        // Another port, by another configuration.
        assert_eq!(written(&wanted(3129).look(&known)).len(), 1);
        known
            .namespaces
            .entry("a".into())
            .and_modify(|seen| seen.1 = true);
        assert_eq!(wanted(3129).look(&known).steps, []);
    }

    #[test]
    fn whatever_opens_more_is_undone_and_what_does_not_is_left() {
        let mut known = known(&[("a", "enforced")]);
        let good = written(&wanted(1).look(&known))[0].1.clone();
        let mut with = |change: &dyn Fn(&mut NetworkPolicy)| {
            let mut changed = good.clone();
            change(&mut changed);
            known.policies.insert("a".into(), changed);
            wanted(1).look(&known).steps.len()
        };
        type Spec = k8s_openapi::api::networking::v1::NetworkPolicySpec;
        let spec = |policy: &mut NetworkPolicy| policy.spec.clone().expect("a spec");
        assert_eq!(with(&|_| {}), 0);
        assert_eq!(with(&|one| one.spec = None), 1);
        assert_eq!(with(&|one| one.metadata.labels = None), 1);
        let selector = json!({ "matchLabels": { "a": "b" } });
        let selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector =
            serde_json::from_value(selector).expect("a selector");
        assert_eq!(
            with(&|one| {
                let pod_selector = Some(selector.clone());
                one.spec = Some(Spec {
                    pod_selector,
                    ..spec(one)
                });
            }),
            1
        );
        assert_eq!(
            with(&|one| {
                let mut spec = spec(one);
                spec.egress
                    .iter_mut()
                    .flatten()
                    .for_each(|rule| rule.to = None);
                one.spec = Some(spec);
            }),
            1
        );
        assert_eq!(
            with(&|one| {
                let policy_types = Some(vec!["Ingress".to_owned()]);
                one.spec = Some(Spec {
                    policy_types,
                    ..spec(one)
                });
            }),
            1
        );
        // Of the traffic to pods it says nothing, and labels of others are theirs.
        assert_eq!(
            with(&|one| {
                let ingress = Some(Vec::new());
                one.spec = Some(Spec {
                    ingress,
                    ..spec(one)
                });
                let labels = one.metadata.labels.get_or_insert_default();
                labels.insert("theirs".into(), "x".into());
            }),
            0
        );
    }

    #[test]
    fn without_the_label_ours_goes_and_that_of_others_stays() {
        let mut known = known(&[("a", "enforced")]);
        let mut policy = written(&wanted(1).look(&known))[0].1.clone();
        policy.metadata.uid = Some("u".into());
        known.policies.insert("a".into(), policy);
        known
            .namespaces
            .entry("a".into())
            .and_modify(|seen| seen.0.clear());
        let gone = Step::Remove {
            namespace: "a".into(),
            uid: Some("u".into()),
        };
        assert_eq!(wanted(1).look(&known).steps, [gone]);
        // Of another gateway, and of somebody who has taken our name.
        let other = Wanted {
            instance: "other",
            ..wanted(1)
        };
        assert_eq!(other.look(&known).steps, []);
        known
            .policies
            .entry("a".into())
            .and_modify(|policy| policy.metadata.labels = None);
        assert_eq!(wanted(1).look(&known).steps, []);
    }

    #[test]
    fn the_proxy_is_where_the_gateway_is_unless_the_settings_say_otherwise() {
        let mut settings = KeptNetworkPolicies {
            proxy_namespace: None,
            proxy_labels: BTreeMap::new(),
            ports: [1].into(),
            in_cluster: model::InCluster::Allow,
            allow_dns: true,
            dns_namespace: "dns".to_owned(),
            dns_labels: BTreeMap::new(),
            dns_port: 54,
        };
        assert_eq!(way(&settings, "gateway").proxy_namespace, "gateway");
        settings.proxy_namespace = Some("proxy".to_owned());
        let way = way(&settings, "gateway");
        assert_eq!(way.proxy_namespace, "proxy");
        assert_eq!((way.in_cluster, way.allow_dns), (InCluster::Allow, true));
        assert_eq!((way.dns.namespace.as_str(), way.dns.port), ("dns", 54));
    }
}
