//! A ClusterNetworkPolicy (`policy.networking.k8s.io/v1alpha2` of network-policy-api v0.2).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{ClusterSubject, InCluster, NAME, NAMESPACE_NAME, OnlyWay, Tier};

/// The object, as far as it is written. An implementation takes the first rule that matches.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterNetworkPolicy {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: &'static str,
}

#[derive(Debug, Serialize)]
struct Spec {
    tier: Tier,
    /// 0 to 1000.
    priority: u16,
    /// Exactly one of `namespaces` and `pods`.
    subject: Value,
    /// 25 at most.
    egress: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Rule {
    /// 100 letters at most.
    name: &'static str,
    action: Action,
    /// Peers, each exactly one of `namespaces`, `pods` and `networks`.
    to: Vec<Value>,
    /// 25 at most, each exactly one of `tcp`, `udp` and `sctp`; all traffic where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    protocols: Vec<Value>,
}

#[derive(Debug, Serialize)]
enum Action {
    Accept,
    Deny,
    /// The next tier decides.
    Pass,
}

/// What stands before it.
pub(super) fn head(way: &OnlyWay, cluster: &ClusterSubject) -> String {
    let tier = match cluster.tier {
        Tier::Admin => "# Tier Admin: no NetworkPolicy of a namespace opens more.\n",
        Tier::Baseline => {
            "# Tier Baseline: it does not hold for pods that a NetworkPolicy selects.\n"
        }
    };
    let inside = match way.in_cluster {
        InCluster::Allow => {
            "# The last rule would close pods to each other as well: they are passed on before it, to what\n# NetworkPolicies say.\n"
        }
        InCluster::Deny => "# The last rule closes pods to each other as well.\n",
    };
    format!("{tier}{inside}")
}

/// Makes the policy.
pub(super) fn policy(way: &OnlyWay, cluster: &ClusterSubject) -> ClusterNetworkPolicy {
    let ports = way.ports.iter().map(|number| protocol("tcp", *number));
    let dns = pods(&way.dns.namespace, &way.dns.labels);
    let mut egress = vec![Rule {
        name: "the-proxy",
        action: Action::Accept,
        to: vec![pods(&way.proxy_namespace, &way.proxy_labels)],
        protocols: ports.collect(),
    }];
    if way.allow_dns {
        egress.push(Rule {
            name: "dns",
            action: Action::Accept,
            to: vec![dns.clone()],
            protocols: ["udp", "tcp"]
                .map(|name| protocol(name, way.dns.port))
                .into(),
        });
    }
    if way.in_cluster == InCluster::Allow {
        // Whatever else these pods serve, and of the proxy what is not for workloads, as metrics.
        egress.push(Rule {
            name: "not-dns-nor-the-rest-of-the-proxy",
            action: Action::Deny,
            to: vec![dns, pods(&way.proxy_namespace, &way.proxy_labels)],
            protocols: Vec::new(),
        });
        egress.push(Rule {
            name: "other-pods",
            action: Action::Pass,
            to: vec![json!({ "namespaces": {} })],
            protocols: Vec::new(),
        });
    }
    egress.push(Rule {
        name: "nothing-else",
        action: Action::Deny,
        to: vec![json!({ "networks": ["0.0.0.0/0", "::/0"] })],
        protocols: Vec::new(),
    });
    ClusterNetworkPolicy {
        api_version: "policy.networking.k8s.io/v1alpha2",
        kind: "ClusterNetworkPolicy",
        metadata: Metadata { name: NAME },
        spec: Spec {
            tier: cluster.tier,
            priority: cluster.priority,
            // The proxy's own namespace is left out, whatever labels it gets: it would be cut off.
            subject: json!({ "namespaces": {
                "matchLabels": cluster.namespace_labels,
                "matchExpressions": [{
                    "key": NAMESPACE_NAME, "operator": "NotIn", "values": [way.proxy_namespace],
                }],
            }}),
            egress,
        },
    }
}

fn pods(namespace: &str, labels: &BTreeMap<String, String>) -> Value {
    json!({ "pods": {
        "namespaceSelector": { "matchLabels": { NAMESPACE_NAME: namespace } },
        "podSelector": { "matchLabels": labels },
    }})
}

fn protocol(name: &str, number: u16) -> Value {
    json!({ name: { "destinationPort": { "number": number } } })
}
