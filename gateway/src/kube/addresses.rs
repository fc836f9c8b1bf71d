//! The addresses that clients reach us by, for the status of Ingresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    networking::v1::IngressLoadBalancerIngress,
};
use kube::{
    Api, Client,
    api::{GetParams, ListParams},
};

use super::{ObjectSet, ResourceName};

/// Where the addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Those of a Service.
    Service(ResourceName),
    /// These, each an IP address or a name.
    Fixed(Vec<String>),
    /// Those of the Nodes that our pods run on: of the pods with the labels of this one.
    Nodes,
}

/// Labels of a pod that differ between pods of one deployment.
const OWN_LABELS: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];
/// Labels that a pod gets from its Node when it is bound to it, since Kubernetes 1.35: its zone and
/// its region (KEP 4742).
const OF_NODE: &str = "topology.kubernetes.io/";

/// An IP address or a name, as a status has it.
pub(super) type Address = IngressLoadBalancerIngress;

pub(super) fn address(text: &str) -> Address {
    let is_address = text.parse::<IpAddr>().is_ok();
    let text = || Some(text.to_owned());
    IngressLoadBalancerIngress {
        ip: is_address.then(text).flatten(),
        hostname: (!is_address).then(text).flatten(),
        ports: None,
    }
}

/// The addresses of a Service that is published: those of its load balancer, else those that it
/// has in the cluster.
pub(super) fn of_service(objects: &ObjectSet, name: &ResourceName) -> Vec<String> {
    let Some(service) = objects.services.get(name) else {
        return Vec::new();
    };
    service_addresses(service)
}

fn service_addresses(service: &Service) -> Vec<String> {
    let spec = service.spec.clone().unwrap_or_default();
    let balancer = service.status.as_ref();
    let balancer = balancer.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let given = balancer.into_iter().flatten();
    let mut addresses: Vec<String> = given
        .filter_map(|given| given.ip.clone().or_else(|| given.hostname.clone()))
        .collect();
    addresses.extend(spec.external_ips.unwrap_or_default());
    let in_cluster = match spec.type_.as_deref() {
        // One without an address yet is waited for.
        Some("LoadBalancer") => Vec::new(),
        Some("ExternalName") => spec.external_name.into_iter().collect(),
        _ => spec.cluster_ips.unwrap_or_default(),
    };
    if addresses.is_empty() {
        addresses.extend(in_cluster.into_iter().filter(|ip| ip != "None"));
    }
    addresses
}

/// The addresses of the Nodes that pods with our labels run on: the external ones, else the
/// internal ones.
pub(super) async fn of_nodes(client: &Client, pod: &ResourceName) -> kube::Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let own = pods.get_with(&pod.name, &GetParams::any()).await?;
    let labels = own.metadata.labels.unwrap_or_default();
    // No label would mean every pod of the namespace.
    let all = match selector(labels) {
        None => vec![pods.get_with(&pod.name, &GetParams::any()).await?],
        Some(labels) => {
            let params = ListParams::default().labels(&labels);
            pods.list(&params).await?.items
        }
    };
    let nodes: BTreeSet<String> = all
        .into_iter()
        .filter(serves)
        .filter_map(|pod| pod.spec?.node_name)
        .collect();
    let api: Api<Node> = Api::all(client.clone());
    let mut addresses = Vec::new();
    for node in nodes {
        if let Some(node) = api.get_opt(&node).await? {
            addresses.extend(node_addresses(&node));
        }
    }
    Ok(addresses)
}

/// What all pods with our labels have in common; none where nothing is left.
fn selector(labels: BTreeMap<String, String>) -> Option<String> {
    let of_one = |key: &str| OWN_LABELS.contains(&key) || key.starts_with(OF_NODE);
    let of_all = labels.into_iter().filter(|(key, _)| !of_one(key));
    let of_all: Vec<String> = of_all
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (!of_all.is_empty()).then(|| of_all.join(","))
}

fn serves(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let is_ready = conditions.any(|known| known.type_ == "Ready" && known.status == "True");
    is_ready && pod.metadata.deletion_timestamp.is_none()
}

fn node_addresses(node: &Node) -> Vec<String> {
    let known = node
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_ref());
    let of_type = |wanted: &str| -> Vec<String> {
        let known = known.into_iter().flatten();
        let of_type = known.filter(|known| known.type_ == wanted);
        of_type.map(|known| known.address.clone()).collect()
    };
    let external = of_type("ExternalIP");
    match external.is_empty() {
        true => of_type("InternalIP"),
        false => external,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_has_its_balancers_addresses_else_its_own() {
        for (service, expected) in [
            (
                json!({
                    "spec": { "type": "LoadBalancer", "clusterIPs": ["10.0.0.1"] },
                    "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }, { "hostname": "lb.test" }] } },
                }),
                vec!["192.0.2.1", "lb.test"],
            ),
            (
                json!({ "spec": { "type": "LoadBalancer", "clusterIPs": ["10.0.0.1"] } }),
                vec![],
            ),
            (
                json!({ "spec": { "type": "NodePort", "clusterIPs": ["10.0.0.1", "fd00::1"] } }),
                vec!["10.0.0.1", "fd00::1"],
            ),
            (
                json!({ "spec": { "clusterIPs": ["10.0.0.1"], "externalIPs": ["192.0.2.2"] } }),
                vec!["192.0.2.2"],
            ),
            (json!({ "spec": { "clusterIPs": ["None"] } }), vec![]),
        ] {
            let service = serde_json::from_value(service).expect("a Service");
            assert_eq!(service_addresses(&service), expected);
        }
    }

    #[test]
    fn a_node_is_reached_from_outside_where_it_can_be() {
        let node = |addresses| -> Node {
            let value = json!({ "status": { "addresses": addresses } });
            serde_json::from_value(value).expect("a Node")
        };
        let internal = json!({ "type": "InternalIP", "address": "10.0.0.1" });
        let external = json!({ "type": "ExternalIP", "address": "192.0.2.1" });
        let name = json!({ "type": "Hostname", "address": "a" });
        assert_eq!(node_addresses(&node(json!([name, internal]))), ["10.0.0.1"]);
        assert_eq!(
            node_addresses(&node(json!([internal, external]))),
            ["192.0.2.1"]
        );
    }

    #[test]
    fn pods_of_other_nodes_and_versions_have_our_labels() {
        let labels = |of_all: &[(&str, &str)]| {
            let of_one = [
                ("pod-template-hash", "6cc7b4f769"),
                ("topology.kubernetes.io/zone", "zone-a"),
                ("topology.kubernetes.io/region", "region"),
            ];
            let all = of_one.iter().chain(of_all);
            let all = all.map(|&(key, value)| (key.to_owned(), value.to_owned()));
            selector(all.collect())
        };
        let of_all = [("app", "gateway"), ("tier", "edge")];
        assert_eq!(labels(&of_all).as_deref(), Some("app=gateway,tier=edge"));
        assert_eq!(labels(&[]), None);
    }

    #[test]
    fn an_address_is_no_name() {
        assert_eq!(address("fd00::1").ip.as_deref(), Some("fd00::1"));
        assert_eq!(address("lb.test").hostname.as_deref(), Some("lb.test"));
        assert_eq!(address("lb.test").ip, None);
    }
}
