//! Pods as clients of the egress proxy: who has an address, and whose token it is.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{edge::edge, egress_bed::Bed};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-pods";

/// The settings of the proxy.
fn settings(identity: &Value, destination: &str) -> Value {
    let allow = json!([{"cidr": destination, "ports": [8080], "private": true, "raw": true}]);
    json!({
        "identity": identity,
        "policies": [
            {"name": "builds", "subjects": [{"namespace": SYSTEM, "serviceAccount": "builder"}], "allow": allow},
            {"name": "labelled", "subjects": [{"namespace": SYSTEM, "podLabels": {"team": "red"}}], "allow": allow},
        ],
    })
}

#[test]
fn pods_are_known_by_their_addresses_and_tokens_end_with_their_pods() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let mut bed = Bed::install(cluster, SYSTEM, &["--update-status=false"]);
    bed.pod("builder", "builder", "app: client");
    bed.pod("red", "default", "team: red");
    bed.pod("other", "default", "app: client");
    let by_address = json!({"level": "address", "pods": {}});
    bed.configure(&settings(&by_address, &bed.destination), &json!({}));
    bed.ready();
    let bed = bed;

    // By address.
    let [builder, red, other] = ["builder", "red", "other"].map(|pod| bed.uid(pod));
    bed.wait(&builder, "", "200 -");
    bed.wait(&red, "", "200 -");
    bed.wait(&other, "", "403 no_policy");
    bed.wait("node-a", "", "403 node_address");
    let label = ["label", "pod", "other", "-n", SYSTEM, "team=red"];
    cluster.kubectl(&label);
    bed.wait(&other, "", "200 -");
    cluster.kubectl(&["label", "pod", "other", "-n", SYSTEM, "team-"]);
    bed.wait(&other, "", "403 no_policy");

    // By token, from where its pod is.
    let raw = |path: &str| cluster.kubectl(&["get", "--raw", path]);
    let discovery: Value =
        serde_json::from_str(&raw("/.well-known/openid-configuration")).expect("JSON");
    let bound = json!({"level": "bind-to-address", "pods": {}, "serviceAccountTokens": {
        "jwks": "configmap:egress-pods/portcullis-config/keys.jwks", "issuer": discovery["issuer"], "audience": "portcullis",
    }});
    let jwks = raw("/openid/v1/jwks");
    let files = json!({ "keys.jwks": jwks });
    bed.configure(&settings(&bound, &bed.destination), &files);
    let token = bed.token("builder", "builder");
    bed.wait(&builder, "", "407 token_missing");
    assert_eq!(bed.ask(&builder, &token), "200 -");
    assert_eq!(bed.ask(&other, &token), "403 identity_mismatch", "K06");
    let arguments = [
        "create",
        "token",
        "builder",
        "-n",
        SYSTEM,
        "--audience=portcullis",
    ];
    let unbound = cluster.kubectl(&arguments).trim().to_owned();
    assert_eq!(bed.ask(&builder, &unbound), "407 token_without_pod");

    // The API server is away, and what is known goes on.
    cluster.ask(&json!({"do": "kill", "name": "apiserver"}));
    for _ in 0..60 {
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(bed.ask(&builder, &token), "200 -");
        assert_eq!(bed.ask(&other, &token), "403 identity_mismatch");
    }
    cluster.ask(&json!({"do": "start", "name": "apiserver"}));

    // K05: its pod is gone, and another has its name.
    cluster.wait("the pod is deleted", || {
        let arguments = ["delete", "pod", "builder", "-n", SYSTEM, "--wait=true"];
        cluster.try_kubectl(&arguments, "").is_ok()
    });
    bed.wait(&other, &token, "407 pod_gone");
    bed.pod("builder", "builder", "app: client");
    let again = bed.uid("builder");
    assert_ne!(again, builder);
    bed.wait(&again, &bed.token("builder", "builder"), "200 -");
    assert_eq!(bed.ask(&again, &token), "407 pod_gone");
}
