//! The ways that pods can be given to the proxy, each with a curl that knows of none of them.

use portcullis_tests::{Authority, Cluster};
use serde_json::{Value, json};

use crate::{
    edge::edge,
    injection_bed::{CLIENTS, Injection, SECURE, SYSTEM, bed, relay, relay_over_tls},
};

/// Runs a script in a pod that a controller makes of a Deployment, again and again.
fn run(cluster: &Cluster, name: &str, script: &str) {
    let script = format!("while :; do {script}; echo; sleep 0.5; done 2>&1");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": CLIENTS },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "serviceAccountName": "builder",
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{ "name": "main", "image": "shell", "args": [script] }],
                },
            },
        },
    });
    cluster.apply(&deployment.to_string());
    cluster.rolled_out(CLIENTS, name);
}

/// Waits for a line of what its pods say.
fn says(cluster: &Cluster, name: &str, line: &str) {
    let mut last = String::new();
    cluster.wait(&format!("{name} says {line:?}"), || {
        let said = cluster.said_in(CLIENTS).into_iter();
        let own = said.filter(|(pod, _)| pod.starts_with(&format!("{CLIENTS}_{name}-")));
        let all: String = own.map(|(_, text)| text).collect();
        let now = all.lines().next_back().unwrap_or_default();
        if now != last {
            eprintln!("{name}: {now}");
            last = now.to_owned();
        }
        all.lines().any(|said| said == line)
    });
}

/// Ends what was run.
fn end(cluster: &Cluster, name: &str) {
    cluster.kubectl(&["delete", "deployment", name, "-n", CLIENTS]);
}

/// The first pod of a Deployment.
fn pod_of(cluster: &Cluster, name: &str) -> Value {
    let arguments = [
        "get",
        "pods",
        "-n",
        CLIENTS,
        "-l",
        &format!("app={name}"),
        "-o",
        "json",
    ];
    let pods: Value = serde_json::from_str(&cluster.kubectl(&arguments)).expect("JSON");
    pods["items"][0].clone()
}

/// Waits for a record of what that pod was allowed.
fn is_known(cluster: &Cluster, pod: &Value) {
    let identity = json!({
        "by": "token", "namespace": CLIENTS, "serviceAccount": "builder",
        "pod": pod["metadata"]["name"], "podUid": pod["metadata"]["uid"],
    });
    cluster.wait("the record of the pod", || {
        let mut records = cluster.records_in(SYSTEM).into_iter();
        records.any(|record| record["identity"] == identity && record["verdict"] == "allow")
    });
}

/// A destination in clear that is allowed, and another port of it, which is not.
fn asks(injection: &Injection, options: &str) -> String {
    let destination = &injection.bed.destination;
    let curl = format!("curl -sS -o /dev/null --max-time 10 {options}");
    format!(
        "{curl} -w 'allowed=%{{http_code}} ' http://{destination}:8080/; \
         {curl} -w 'other=%{{http_code}} ' http://{destination}:8081/; \
         {curl} -w 'tunnel=%{{http_connect}}' --proxytunnel http://{destination}:8081/ 2>/dev/null"
    )
}

#[test]
fn with_the_token_an_unmodified_curl_shows_it_and_reaches_what_its_pod_may() {
    let Some(edge) = edge() else { return };
    let (cluster, injection) = (edge.cluster, bed(edge.cluster));
    let mut given = relay();
    given["identity"] = json!("token");
    given.as_object_mut().expect("a map").remove("relay");
    injection.give(&given);
    let token = "--proxy-user \"token:$(cat /var/run/secrets/portcullis/token)\"";
    run(cluster, "token", &asks(injection, token));
    // Who does not show it is nobody, from the same pod's ServiceAccount.
    run(cluster, "without", &asks(injection, ""));
    says(cluster, "token", "allowed=200 other=403 tunnel=403");
    says(cluster, "without", "allowed=407 other=407 tunnel=407");
    let pod = pod_of(cluster, "token");
    assert_eq!(pod["spec"]["initContainers"], Value::Null, "no relay");
    is_known(cluster, &pod);
    ["token", "without"]
        .iter()
        .for_each(|name| end(cluster, name));
}

#[test]
fn with_trust_an_unmodified_curl_takes_what_the_proxy_shows_when_it_looks_into_tls() {
    let Some(edge) = edge() else { return };
    let (cluster, injection) = (edge.cluster, bed(edge.cluster));
    injection.trusted();
    let mut given = relay();
    given["trust"] = json!({ "configMap": "trust", "key": "bundle.crt" });
    injection.give(&given);
    let curl = "curl -sS -o /dev/null --max-time 10";
    // The last one is told of no authority but those of the machine.
    let script = format!(
        "{curl} -w 'allowed=%{{http_code}} ' https://{SECURE}/allowed; \
         {curl} -w 'path=%{{http_code}} ' https://{SECURE}/other; \
         {curl} -w 'host=%{{http_connect}} ' https://other.test/ 2>/dev/null; \
         env -u CURL_CA_BUNDLE -u SSL_CERT_FILE {curl} https://{SECURE}/allowed 2>/dev/null; printf 'untrusting=%s' $?"
    );
    run(cluster, "trust", &script);
    // 60: the certificate was not taken.
    says(
        cluster,
        "trust",
        "allowed=200 path=403 host=403 untrusting=60",
    );
    is_known(cluster, &pod_of(cluster, "trust"));
    cluster.wait("the record of a request inside", || {
        let mut records = cluster.records_in(SYSTEM).into_iter();
        records.any(|record| {
            record["host"] == SECURE && record["path"] == "/other" && record["verdict"] == "deny"
        })
    });
    end(cluster, "trust");
}

#[test]
fn with_the_authority_of_the_proxy_the_relay_speaks_tls_to_it_and_to_no_other() {
    let Some(edge) = edge() else { return };
    let (cluster, injection) = (edge.cluster, bed(edge.cluster));
    injection.trusted();
    injection.give(&relay_over_tls());
    run(cluster, "over-tls", &asks(injection, ""));
    says(cluster, "over-tls", "allowed=200 other=403 tunnel=403");
    let pod = pod_of(cluster, "over-tls");
    let relay = pod["spec"]["initContainers"][0].to_string();
    assert!(relay.contains("https://proxy."), "{relay}");
    is_known(cluster, &pod);
    // A proxy that shows the certificate of somebody else is shown no token.
    injection.trust("proxy-ca", "ca.crt", &Authority::named("somebody else"));
    says(cluster, "over-tls", "allowed=502 other=502 tunnel=502");
    end(cluster, "over-tls");
}
