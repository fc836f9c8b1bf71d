//! Tokens that a real API server makes, at the egress proxy.

use portcullis_tests::{Gateway, Raw, Recorder, cluster, status_of, wait_for};
use serde_json::{Value, json};

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: tokens}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder, namespace: tokens}
---
apiVersion: v1
kind: Pod
metadata: {name: build-7, namespace: tokens}
spec:
  serviceAccountName: builder
  containers: [{name: backend, image: backend}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_cluster_is_known_by_its_keys_and_one_for_its_api_server_is_refused() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(OBJECTS);
    let raw = |path: &str| cluster.kubectl(&["get", "--raw", path]);
    let discovery: Value =
        serde_json::from_str(&raw("/.well-known/openid-configuration")).expect("JSON");
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("jwks.json"), raw("/openid/v1/jwks")).expect("writable");
    let egress = json!({
        "listeners": [{"name": "proxy", "address": "127.0.0.1:0"}],
        "identity": {"serviceAccountTokens": {
            "jwks": "jwks.json",
            "issuer": discovery["issuer"],
            "audience": "portcullis",
        }},
        "policies": [{
            "name": "builds",
            "subjects": [{"namespace": "tokens", "serviceAccount": "builder"}],
            "allow": [{"host": "raw.example", "ports": [22], "raw": true}],
        }],
    });
    let recorder = Recorder::start().await;
    let map = format!("93.184.215.14:22={}", recorder.address);
    let arguments = [
        "--test-dns",
        "raw.example=93.184.215.14",
        "--test-address-map",
        &map,
    ];
    let gateway = Gateway::start_in(folder, &format!("egress: {egress}\n"), &arguments);
    let token = |account: &str, more: &[&str]| {
        let arguments = [&["create", "token", account, "-n", "tokens"], more].concat();
        cluster.kubectl(&arguments).trim().to_owned()
    };
    let of_pod = ["--bound-object-kind=Pod", "--bound-object-name=build-7"];
    let ours = "--audience=portcullis";
    for (token, expected) in [
        (token("builder", &[&[ours], &of_pod[..]].concat()), ""),
        (token("builder", &[ours, "--audience=other"]), ""),
        (token("builder", &of_pod), "egress/bad_audience"),
        (token("default", &[ours]), "egress/no_policy"),
    ] {
        let mut connection = Raw::connect(gateway.at("egress/proxy"));
        let head = format!(
            "CONNECT raw.example:22 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
        );
        let answer = connection.send(head.as_bytes()).response();
        let reason = answer
            .lines()
            .find_map(|line| line.strip_prefix("x-portcullis-reason: "));
        assert_eq!(reason.unwrap_or_default(), expected, "{answer}");
        let status = match expected {
            "" => 200,
            "egress/no_policy" => 403,
            _ => 407,
        };
        assert_eq!(status_of(&answer), status);
    }
    let pod = ["pod", "build-7", "-n", "tokens"];
    let expected = json!({
        "by": "token",
        "namespace": "tokens",
        "serviceAccount": "builder",
        "pod": "build-7",
        "podUid": cluster.field(&pod, "{.metadata.uid}"),
    });
    wait_for("the audit line", || {
        let lines = gateway.audit_lines();
        lines.iter().any(|line| line["identity"] == expected)
    });
}
