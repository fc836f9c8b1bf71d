//! Addresses that go from one pod to another, at an egress proxy that knows pods by them.

use std::{process::Command, sync::OnceLock};

use portcullis_tests::Cluster;
use serde_json::{Value, json};

use crate::{edge::edge, egress_bed::Bed};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-addresses";

/// The Service by which pods reach the API server.
const API_SERVER: &str = "10.96.0.1";

fn objects() -> String {
    let account = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: {SYSTEM}}}}}\n---\n"
        )
    };
    ["first", "second", "closed"].map(account).concat()
}

/// A policy for each of two ServiceAccounts, and one for pods with a label.
fn settings(destination: &str) -> Value {
    let allow = json!([{"cidr": destination, "ports": [8080], "private": true, "raw": true}]);
    let of =
        |name: &str, subject: Value| json!({"name": name, "subjects": [subject], "allow": allow});
    json!({
        "identity": {"level": "address", "pods": {}},
        "policies": [
            of("of-first", json!({"namespace": SYSTEM, "serviceAccount": "first"})),
            of("of-second", json!({"namespace": SYSTEM, "serviceAccount": "second"})),
            of("of-seen", json!({"namespace": SYSTEM, "podLabels": {"seen": "yes"}})),
        ],
    })
}

fn bed(cluster: &'static Cluster) -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| {
        let mut bed = Bed::install(cluster, SYSTEM, &["--update-status=false"]);
        cluster.apply(&objects());
        bed.configure(&settings(&bed.destination), &json!({}));
        bed.ready();
        bed
    })
}

/// Runs `nft` in the network namespace of the proxy.
fn filter(bed: &Bed, rules: String) {
    let proxy = bed.cluster.field(
        &["pods", "-n", SYSTEM, "-l", "app=proxy"],
        "{.items[0].metadata.uid}",
    );
    let done = bed.cluster.within(&proxy, move || async move {
        // It runs where the thread is that starts it.
        Command::new("nft").arg(rules).output()
    });
    let done = done.expect("nft is installed");
    assert!(done.status.success(), "{done:?}");
}

/// Lets nothing of the API server reach the proxy. Connections stay, and what is sent again
/// comes when it is over.
fn deafen(bed: &Bed) {
    let chain = format!("type filter hook input priority 0; ip saddr {API_SERVER} drop;");
    filter(
        bed,
        format!("table ip deaf {{ chain input {{ {chain} }}; }}"),
    );
}

/// The records of what a pod with a UID has asked.
fn records(bed: &Bed, uid: &str) -> Vec<Value> {
    let records = bed.cluster.records_in(SYSTEM).into_iter();
    records
        .filter(|record| record["identity"]["podUid"] == uid)
        .collect()
}

/// Waits for the record of a pod that was let through by a policy, known by its address.
fn is_told(bed: &Bed, uid: &str, pod: &str, account: &str, policy: &str) {
    let who = json!({
        "by": "address", "namespace": SYSTEM, "serviceAccount": account, "pod": pod, "podUid": uid,
    });
    bed.cluster.wait(&format!("the record of {pod}"), || {
        let mut records = records(bed, uid).into_iter();
        records.any(|record| {
            record["identity"] == who && record["policy"] == policy && record["verdict"] == "allow"
        })
    });
}

#[test]
fn k08_an_address_of_a_pod_that_is_gone_is_nobodys_until_the_next_pod_is_known() {
    let Some(edge) = edge() else { return };
    let (cluster, bed) = (edge.cluster, bed(edge.cluster));
    let address = "10.244.1.240";
    bed.pod("witness", "closed", "app: client");
    bed.pod_at(address, "k08-first", "first", &json!({}));
    let [witness, first] = ["witness", "k08-first"].map(|pod| bed.uid(pod));
    bed.wait(&witness, "", "403 no_policy");
    bed.wait(&first, "", "200 -");
    is_told(bed, &first, "k08-first", "first", "of-first");
    // At once: that it is gone is all that is told of it, and no phase comes before.
    let at_once = ["--grace-period=0", "--force"];
    cluster.kubectl(&[&["delete", "pod", "k08-first", "-n", SYSTEM], &at_once[..]].concat());
    // Pods are told of in their order: who knows this label knows that the first one is gone.
    cluster.kubectl(&["label", "pod", "witness", "-n", SYSTEM, "seen=yes"]);
    bed.wait(&witness, "", "200 -");

    assert_eq!(
        cluster.field(&["service", "kubernetes"], "{.spec.clusterIP}"),
        API_SERVER
    );
    deafen(bed);
    bed.pod_at(address, "k08-second", "second", &json!({}));
    assert_eq!(bed.address("k08-second"), address);
    let second = bed.uid("k08-second");
    for _ in 0..10 {
        let answer = bed.answer(&second, "");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(head.contains("\r\nretry-after: 1"), "{answer}");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["reason"], "identity_unknown", "{body}");
        let message = body["message"].as_str().expect("a message");
        assert!(message.ends_with("try again in a moment"), "{message}");
    }
    // What others have goes on meanwhile.
    assert_eq!(bed.ask(&witness, ""), "200 -");
    filter(bed, "delete table ip deaf".to_owned());
    bed.wait(&second, "", "200 -");
    is_told(bed, &second, "k08-second", "second", "of-second");
}

#[test]
fn k11_an_address_that_a_pod_lists_still_which_has_ended_is_that_of_the_pod_that_runs() {
    let Some(edge) = edge() else { return };
    let (cluster, bed) = (edge.cluster, bed(edge.cluster));
    let address = "10.244.1.241";
    // It ends, by itself and well, when it has a label.
    let script = "until grep -q end= /about/labels; do sleep 0.1; done";
    let label = json!({ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } });
    let spec = json!({
        "restartPolicy": "Never",
        "containers": [{
            "name": "main", "image": "shell", "args": [script],
            "volumeMounts": [{ "name": "about", "mountPath": "/about" }],
        }],
        "volumes": [{ "name": "about", "downwardAPI": { "items": [label] } }],
    });
    bed.pod_at(address, "k11-first", "closed", &spec);
    let first = bed.uid("k11-first");
    bed.wait(&first, "", "403 no_policy");
    cluster.kubectl(&["label", "pod", "k11-first", "-n", SYSTEM, "end=now"]);
    let of_first = |path: &str| cluster.field(&["pod", "k11-first", "-n", SYSTEM], path);
    cluster.wait("the first one has ended", || {
        of_first("{.status.phase}") == "Succeeded"
    });

    bed.pod_at(address, "k11-second", "second", &json!({}));
    assert_eq!(bed.address("k11-second"), address);
    let second = bed.uid("k11-second");
    // Its own policy, where the first one had none.
    bed.wait(&second, "", "200 -");
    is_told(bed, &second, "k11-second", "second", "of-second");
    assert!(
        records(bed, &first)
            .iter()
            .all(|record| record["verdict"] == "deny")
    );
    assert_eq!(
        of_first("{.status.phase} {.status.podIP}"),
        format!("Succeeded {address}")
    );
}
