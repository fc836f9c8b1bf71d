//! A gateway on a Node of its own: the addresses that it tells, and the zone that it prefers.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use portcullis_tests::Cluster;
use serde_json::Value;

use crate::{
    edge::{edge, ingress, web},
    own::rights,
};

/// The namespace of this gateway.
const SYSTEM: &str = "nodes-gateway";
/// The class that it serves.
const CLASS: &str = "nodes";
/// The addresses of each node of the cluster, as a status has them.
const ADDRESSES: [(&str, &str); 2] = [
    ("node-a", "10.90.0.11 fd00:90::11"),
    ("node-b", "10.90.0.12 fd00:90::12"),
];

/// The gateway, with so many pods on Nodes of these names.
fn gateway(replicas: usize, nodes: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: {CLASS}}}
spec: {{controller: test.invalid/nodes}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: portcullis-config, namespace: {SYSTEM}}}
data:
  settings.yaml: |
    listeners: [{{name: http, protocol: http}}]
    management: {{address: '[::]:9090'}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: nodes, namespace: {SYSTEM}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: nodes}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: nodes}}}}
    spec:
      serviceAccountName: portcullis-nodes
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{nodes}]}}]
      # Of one version, or the pods of a rollout would be in each other's way.
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {{matchLabels: {{app: nodes}}}}
        matchLabelKeys: [pod-template-hash]
      containers:
      - name: portcullis
        image: portcullis
        args:
        - run
        - --threads=1
        - --kubernetes
        - --controller-class=test.invalid/nodes
        - --configmap={SYSTEM}/portcullis-config
        - --publish-node-addresses
        env:
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: POD_NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        - {{name: NODE_NAME, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}
        readinessProbe: {{httpGet: {{path: /readyz, port: 9090}}, periodSeconds: 1}}
"
    )
}

/// A pod that is taken for one of the gateway's by its label, and is never ready.
const UNREADY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: unready, namespace: nodes-gateway, labels: {app: nodes}}
spec:
  nodeName: node-a
  containers:
  - name: unready
    image: backend
    args: [--unready]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
";

/// Has the gateway run so, with the rights that are printed for it.
fn run(cluster: &Cluster, replicas: usize, nodes: &str) {
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n"
    ));
    cluster.apply(&rights(&[
        "--service-account=portcullis-nodes",
        "--system-namespace=nodes-gateway",
        "--publish-node-addresses",
    ]));
    cluster.apply(&gateway(replicas, nodes));
    cluster.rolled_out(SYSTEM, "nodes");
}

/// Waits until the status of an Ingress has the addresses of Nodes, and no others.
fn has_addresses_of(cluster: &Cluster, namespace: &str, nodes: &[&str]) {
    let of_nodes = ADDRESSES.iter().filter(|(node, _)| nodes.contains(node));
    let expected: BTreeSet<&str> = of_nodes
        .flat_map(|(_, addresses)| addresses.split(' '))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let told = cluster.field(
            &["ingress", "web", "-n", namespace],
            "{.status.loadBalancer.ingress[*].ip}",
        );
        if told.split_whitespace().collect::<BTreeSet<_>>() == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "not the addresses of {nodes:?}, but {told:?}\n{}\n{}",
            cluster.kubectl(&["get", "pods", "-n", SYSTEM, "-o", "wide"]),
            cluster.logs_of(SYSTEM)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_addresses_of_nodes_follow_the_pods_of_the_gateway() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    cluster.apply(&web("addresses", 1));
    cluster.apply(&ingress("addresses", "web", CLASS, "addresses.test", None));
    run(cluster, 1, "node-a");
    has_addresses_of(cluster, "addresses", &["node-a"]);
    cluster.apply(UNREADY);
    run(cluster, 1, "node-b");
    has_addresses_of(cluster, "addresses", &["node-b"]);
    assert_eq!(
        cluster.field(&["pod", "unready", "-n", SYSTEM], "{.status.phase}"),
        "Running",
        "it is there, on node-a, and does not count"
    );
    run(cluster, 2, "node-a, node-b");
    has_addresses_of(cluster, "addresses", &["node-a", "node-b"]);
    cluster.kubectl(&["delete", "pod", "unready", "-n", SYSTEM]);
}

/// The address of the pod of a Deployment in a namespace.
fn pod_address(cluster: &Cluster, namespace: &str, app: &str) -> String {
    cluster.field(
        &["pods", "-n", namespace, "-l", &format!("app={app}")],
        "{.items[?(@.status.phase=='Running')].status.podIP}",
    )
}

/// The backends that answer a host through the gateway on a Node: the values of their `VERSION`.
fn answering(cluster: &Cluster, gateway: &str, host: &'static str) -> BTreeSet<String> {
    let address = format!("{gateway}:8080").parse().expect("an address");
    cluster.within("node-a", move || async move {
        let client = reqwest::Client::builder()
            .resolve(host, address)
            .timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .expect("a client");
        let mut answering = BTreeSet::new();
        for _ in 0..12 {
            let sent = client.get(format!("http://{host}:8080/")).send().await;
            let version = match sent {
                Ok(answer) if answer.status() == 200 => {
                    let told = answer.json::<Value>().await.unwrap_or_default();
                    told["version"].as_str().unwrap_or("none").to_owned()
                }
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            answering.insert(version);
        }
        answering
    })
}

/// A Deployment `near` or `far` on a Node, whose pod tells its name as its version.
fn placed(name: &str, node: &str) -> String {
    let all = web("zones", 1);
    let (_, deployment) = all.split_once("---\n").expect("the Namespace is first");
    let (deployment, _) = deployment.split_once("---\n").expect("the Service is last");
    deployment
        .replace("app: web", &format!("app: {name}"))
        .replace("{name: web,", &format!("{{name: {name},"))
        .replace("value: '1'", &format!("value: {name}"))
        .replace(
            "      containers:",
            &format!("      nodeSelector: {{kubernetes.io/hostname: {node}}}\n      containers:"),
        )
}

/// A Service without a selector, and a slice of it with an endpoint each for an address and hints.
fn slice(endpoints: &[(&str, &str)]) -> String {
    let mut text = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: zones}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: zones, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
"
    .to_owned();
    for (address, zone) in endpoints {
        let hints = match *zone {
            "" => String::new(),
            zone => format!(", hints: {{forZones: [{{name: {zone}}}]}}"),
        };
        text.push_str(&format!("- {{addresses: [{address}]{hints}}}\n"));
    }
    text
}

#[test]
fn endpoints_that_are_kept_for_the_zone_of_the_node_are_preferred() {
    const HOST: &str = "zones.test";
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: zones}\n");
    cluster.apply(&placed("near", "node-a"));
    cluster.apply(&placed("far", "node-b"));
    for name in ["near", "far"] {
        cluster.rolled_out("zones", name);
    }
    let [near, far] = ["near", "far"].map(|name| pod_address(cluster, "zones", name));
    cluster.apply(&ingress("zones", "web", CLASS, HOST, None));
    let expect = |what: &str, gateway: &str, expected: &[&str]| {
        let expected: BTreeSet<String> = expected.iter().map(|&name| name.to_owned()).collect();
        cluster.wait(&format!("{what}: {expected:?}"), || {
            answering(cluster, gateway, HOST) == expected
        });
    };
    for (node, kept, other) in [("node-a", "near", "far"), ("node-b", "far", "near")] {
        cluster.apply(&slice(&[(&near, "zone-a"), (&far, "zone-b")]));
        run(cluster, 1, node);
        cluster.wait("the pod of the gateway is alone", || {
            !pod_address(cluster, SYSTEM, "nodes").contains(' ')
        });
        let gateway = pod_address(cluster, SYSTEM, "nodes");
        expect("kept for its zone", &gateway, &[kept]);
        cluster.apply(&slice(&[(&near, "zone-b"), (&far, "zone-a")]));
        expect("the hints are turned round", &gateway, &[other]);
        // Kubernetes' own proxies need hints on all of them as well.
        cluster.apply(&slice(&[(&near, "zone-a"), (&far, "")]));
        expect("one has no hints", &gateway, &["far", "near"]);
        cluster.apply(&slice(&[(&near, "zone-c"), (&far, "zone-c")]));
        expect("none is for its zone", &gateway, &["far", "near"]);
    }
}
