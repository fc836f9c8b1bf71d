//! The NetworkPolicy of one namespace (`networking.k8s.io/v1`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{InCluster, NAME, NAMESPACE_NAME, OnlyWay};

/// What stands before it.
pub(super) const HEAD: &str =
    "# NetworkPolicies of a namespace add up: another one there that allows more opens more.\n";

/// Makes the policy of a namespace, for all of its pods.
pub(super) fn policy(way: &OnlyWay, namespace: &str) -> NetworkPolicy {
    let tcp = way.ports.iter().map(|number| port("TCP", *number));
    let proxy = peer(name_is(&way.proxy_namespace), &way.proxy_labels);
    let mut rules = vec![rule(proxy, tcp.collect())];
    if way.allow_dns {
        let dns = peer(name_is(&way.dns.namespace), &way.dns.labels);
        let ports = ["UDP", "TCP"].map(|protocol| port(protocol, way.dns.port));
        rules.push(rule(dns, ports.into()));
    }
    if way.in_cluster == InCluster::Allow {
        // A rule can but allow: what must stay closed is left out by its namespace, the pods
        // that resolve names, and of the proxy every port that is not for workloads.
        let closed = [&way.dns.namespace, &way.proxy_namespace];
        let mut closed: Vec<String> = closed.into_iter().cloned().collect();
        closed.sort();
        closed.dedup();
        let others = LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: NAMESPACE_NAME.to_owned(),
                operator: "NotIn".to_owned(),
                values: Some(closed),
            }]),
            ..LabelSelector::default()
        };
        rules.push(NetworkPolicyEgressRule {
            to: Some(vec![NetworkPolicyPeer {
                namespace_selector: Some(others),
                ..NetworkPolicyPeer::default()
            }]),
            ports: None,
        });
    }
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Egress".to_owned()]),
            egress: Some(rules),
            ingress: None,
        }),
    }
}

fn rule(to: NetworkPolicyPeer, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![to]),
        ports: Some(ports),
    }
}

/// Pods with labels in namespaces: both hold, since they stand in one peer.
fn peer(namespaces: LabelSelector, labels: &BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(namespaces),
        pod_selector: Some(LabelSelector {
            match_labels: Some(labels.clone()),
            ..LabelSelector::default()
        }),
        ip_block: None,
    }
}

fn name_is(namespace: &str) -> LabelSelector {
    let label = (NAMESPACE_NAME.to_owned(), namespace.to_owned());
    LabelSelector {
        match_labels: Some(BTreeMap::from([label])),
        ..LabelSelector::default()
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number.into())),
        end_port: None,
    }
}
