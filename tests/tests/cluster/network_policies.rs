//! NetworkPolicies that are kept in namespaces with a label.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use portcullis_tests::Cluster;
use serde_json::{Value, json};

use crate::{edge::edge, egress_bed::Bed};

/// The namespace of the gateway that keeps them.
const SYSTEM: &str = "egress-keeper";
pub(crate) const KEPT: &str = "portcullis-only-through-the-egress-proxy";
const ARGUMENTS: &[&str] = &[
    "--update-status=false",
    "--egress-network-policies",
    "--pod-namespace=egress-keeper",
];

/// Tests take turns: they share the gateway, and one of them takes its Lease away.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn bed(cluster: &'static Cluster) -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| {
        let mut bed = Bed::install(cluster, SYSTEM, ARGUMENTS);
        bed.give_rights(ARGUMENTS);
        let policies = json!({ "networkPolicies": { "proxyLabels": { "app": "proxy" } } });
        bed.configure(&json!({ "workloads": policies }), &json!({}));
        bed.ready();
        bed
    })
}

pub(crate) fn namespace(cluster: &Cluster, name: &str, label: &str) {
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{portcullis.dev/egress: '{label}'}}}}}}"
    ));
}

/// The policy of a namespace, where it has one.
pub(crate) fn policy(cluster: &Cluster, namespace: &str) -> Option<Value> {
    let arguments = ["get", "networkpolicy", KEPT, "-n", namespace, "-o", "json"];
    let text = cluster.try_kubectl(&arguments, "").ok()?;
    serde_json::from_str(&text).ok()
}

/// Waits until the policy of a namespace says what it should.
fn stands(cluster: &Cluster, namespace: &str, what: &str) -> Value {
    let mut found = None;
    cluster.wait(what, || {
        found = policy(cluster, namespace);
        let is_ours = |policy: &Value| {
            let labels = &policy["metadata"]["labels"];
            policy["spec"] == expected()
                && labels["app.kubernetes.io/managed-by"] == "portcullis"
                && labels["app.kubernetes.io/instance"] == SYSTEM
        };
        found.as_ref().is_some_and(is_ours)
    });
    found.expect("it stands")
}

/// TCP to the pods of the proxy, and nothing else.
fn expected() -> Value {
    json!({
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{
            "to": [{
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": SYSTEM } },
                "podSelector": { "matchLabels": { "app": "proxy" } },
            }],
            "ports": [{ "port": 3128, "protocol": "TCP" }],
        }],
    })
}

fn metric(bed: &Bed, series: &str) -> u64 {
    let metrics = bed.says("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or_default()
}

#[test]
fn a_policy_is_kept_while_its_namespace_has_the_label() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let _turn = turn();
    let bed = bed(cluster);
    namespace(cluster, "kept", "enforced");
    namespace(cluster, "not-kept", "injected");
    stands(cluster, "kept", "it is written");

    let patch = |patch: &str, kind: &str| {
        let arguments = [
            "patch",
            "networkpolicy",
            KEPT,
            "-n",
            "kept",
            "--type",
            kind,
            "-p",
            patch,
        ];
        cluster.kubectl(&arguments);
    };
    patch(
        r#"[{"op":"add","path":"/spec/egress/-","value":{}}]"#,
        "json",
    );
    stands(cluster, "kept", "what somebody opened is closed");
    patch(
        r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":"me"}}}"#,
        "merge",
    );
    stands(cluster, "kept", "it is ours again");
    cluster.kubectl(&["delete", "networkpolicy", KEPT, "-n", "kept"]);
    let last = stands(cluster, "kept", "what somebody deleted is back");

    // What is as it should be is not written again.
    let written = "portcullis_egress_network_policy_writes_total{result=\"written\"}";
    let before = metric(bed, written);
    assert!(before >= 4, "{before}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(metric(bed, written), before);
    let version = |policy: &Value| policy["metadata"]["resourceVersion"].clone();
    let now = policy(cluster, "kept").expect("it stands");
    assert_eq!(version(&now), version(&last));
    assert!(metric(bed, "portcullis_egress_network_policies{state=\"kept\"}") >= 1);

    // One of somebody else's with another name, and one that has taken our name elsewhere, are theirs.
    let theirs = |name: &str, namespace: &str| {
        cluster.apply(&format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{podSelector: {{}}}}}}"
        ));
    };
    theirs("theirs", "kept");
    theirs(KEPT, "not-kept");
    namespace(cluster, "kept", "injected");
    cluster.wait("without the label it goes", || {
        policy(cluster, "kept").is_none()
    });
    let names = cluster.field(
        &["networkpolicies", "-n", "kept"],
        "{.items[*].metadata.name}",
    );
    assert_eq!(names, "theirs");
    assert!(policy(cluster, "not-kept").is_some());
    assert!(
        metric(
            bed,
            "portcullis_egress_network_policy_writes_total{result=\"removed\"}"
        ) >= 1
    );
}

#[test]
fn the_namespace_of_the_gateway_is_never_cut_off() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let _turn = turn();
    bed(cluster);
    cluster.kubectl(&[
        "label",
        "namespace",
        SYSTEM,
        "portcullis.dev/egress=enforced",
    ]);
    cluster.wait("it is told", || {
        cluster
            .logs_of(SYSTEM)
            .contains("it gets no NetworkPolicy though it has the label")
    });
    assert!(policy(cluster, SYSTEM).is_none());
    cluster.kubectl(&["label", "namespace", SYSTEM, "portcullis.dev/egress-"]);
}

#[test]
fn what_the_api_server_refuses_is_told_and_tried_again() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let _turn = turn();
    let bed = bed(cluster);
    namespace(cluster, "full", "injected");
    cluster.apply(
        "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none, namespace: full}, \
         spec: {hard: {count/networkpolicies.networking.k8s.io: '0'}}}",
    );
    cluster.wait("the quota holds", || {
        let used = cluster.field(&["resourcequota", "none", "-n", "full"], "{.status.used}");
        used.contains("networkpolicies")
    });
    namespace(cluster, "full", "enforced");
    let failed = "portcullis_egress_network_policy_writes_total{result=\"failed\"}";
    cluster.wait("it is counted", || metric(bed, failed) >= 2);
    let missing = "portcullis_egress_network_policies{state=\"missing\"}";
    assert!(metric(bed, missing) >= 1);
    let log = cluster.logs_of(SYSTEM);
    assert!(log.contains("exceeded quota"), "{log}");
    cluster.kubectl(&["delete", "resourcequota", "none", "-n", "full"]);
    stands(cluster, "full", "it is tried again");
    cluster.kubectl(&["delete", "namespace", "full", "--wait=false"]);
}

#[test]
fn who_does_not_lead_writes_nothing() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let _turn = turn();
    let bed = bed(cluster);
    namespace(cluster, "led", "enforced");
    stands(cluster, "led", "it is written");
    // Another holds the Lease, and renews it.
    let ends = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&ends);
    let other = std::thread::spawn(move || {
        let mut number = 0;
        while !until.load(Ordering::Relaxed) {
            number += 1;
            let spec =
                json!({ "spec": { "holderIdentity": "another", "leaseTransitions": number } });
            let lease = ["patch", "lease", "portcullis-leader", "-n", SYSTEM];
            let spec = spec.to_string();
            let patch = ["--type=merge", "-p", spec.as_str()];
            let _ = cluster.try_kubectl(&[&lease[..], &patch].concat(), "");
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    let leads = "portcullis_kubernetes_leader";
    cluster.wait("it does not lead any more", || metric(bed, leads) == 0);
    cluster.kubectl(&["delete", "networkpolicy", KEPT, "-n", "led"]);
    // It counts that nobody keeps it.
    let missing = "portcullis_egress_network_policies{state=\"missing\"}";
    cluster.wait("it is counted as missing", || metric(bed, missing) >= 1);
    std::thread::sleep(Duration::from_secs(3));
    let is_back = policy(cluster, "led").is_some();
    let is_counted = metric(bed, missing) >= 1;
    ends.store(true, Ordering::Relaxed);
    other.join().expect("it ended");
    assert!(!is_back, "who does not lead has written it");
    assert!(
        is_counted,
        "it is counted no more, and nobody has written it"
    );
    stands(cluster, "led", "who leads again writes it");
}
