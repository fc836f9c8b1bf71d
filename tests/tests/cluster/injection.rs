//! What pods are given by the mutating webhook, and what their programs reach by it.

use portcullis_tests::Cluster;
use serde_json::{Value, json};

use crate::{
    edge::edge,
    egress_bed::pod,
    injection_bed::{CLIENTS, OTHERS, SYSTEM, bed, relay},
};

/// What the API server would make of a pod.
fn made(cluster: &Cluster, pod: &Value) -> Value {
    let arguments = ["create", "-f", "-", "--dry-run=server", "-o", "json"];
    let made = cluster.try_kubectl(&arguments, &pod.to_string());
    serde_json::from_str(&made.expect("it is taken")).expect("JSON")
}

fn names(list: &Value) -> Vec<&str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item["name"].as_str()).collect()
}

#[test]
fn pods_of_labelled_namespaces_alone_are_given_the_relay() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    bed(cluster).give(&relay());
    let none = json!({});
    let init = json!({ "initContainers": [{ "name": "first", "image": "backend" }] });
    let given = made(cluster, &pod(CLIENTS, "given", &none, &init));
    let spec = &given["spec"];
    assert_eq!(
        names(&spec["initContainers"]),
        ["portcullis-egress-relay", "first"]
    );
    assert!(
        names(&spec["volumes"]).contains(&"portcullis-egress-token"),
        "{spec}"
    );
    for container in [&spec["containers"][0], &spec["initContainers"][1]] {
        let env = container["env"].as_array().expect("variables");
        let proxy = json!({ "name": "https_proxy", "value": "http://127.0.0.1:3128" });
        assert!(env.contains(&proxy), "{env:?}");
    }
    let note = "portcullis.dev/egress-injected";
    assert_eq!(given["metadata"]["annotations"][note], "relay");

    let disabled = json!({ "labels": { "portcullis.dev/egress-injection": "disabled" } });
    let host = json!({ "hostNetwork": true });
    for (namespace, metadata, spec) in [
        (OTHERS, &none, &none),
        (SYSTEM, &none, &none),
        (CLIENTS, &disabled, &none),
        (CLIENTS, &none, &host),
    ] {
        let pod = made(cluster, &pod(namespace, "left", metadata, spec));
        assert_eq!(pod["spec"]["initContainers"], Value::Null, "{pod}");
        assert_eq!(pod["spec"]["containers"][0]["env"], Value::Null, "{pod}");
        assert_eq!(pod["metadata"]["annotations"][note], Value::Null, "{pod}");
    }

    // What is in the way is told by whoever creates the pod.
    let taken = json!({ "volumes": [{ "name": "portcullis-egress-token", "emptyDir": {} }] });
    let refused = pod(CLIENTS, "taken", &none, &taken).to_string();
    let refused = cluster.try_kubectl(&["create", "-f", "-"], &refused);
    let refused = refused.expect_err("it is refused");
    assert!(
        refused.contains("is something else than what this name is kept for"),
        "{refused}"
    );
}

#[test]
fn what_a_pod_sets_itself_stays_and_the_api_server_passes_the_warning_on() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    bed(cluster).give(&relay());
    let own = json!({ "containers": [{
        "name": "main", "image": "backend", "env": [{ "name": "HTTPS_PROXY", "value": "http://own.test:1" }],
    }] });
    let pod = pod(CLIENTS, "own", &json!({}), &own).to_string();
    // Warnings are errors: what fails tells them.
    let arguments = [
        "create",
        "-f",
        "-",
        "--dry-run=server",
        "--warnings-as-errors",
    ];
    let warned = cluster.try_kubectl(&arguments, &pod);
    let warned = warned.expect_err("a warning is told");
    let warning = "spec.containers[0] \"main\": set already, and left alone: HTTPS_PROXY";
    assert!(warned.contains(warning), "{warned}");
    let pod = made(cluster, &serde_json::from_str(&pod).expect("JSON"));
    let env = &pod["spec"]["containers"][0]["env"];
    assert_eq!(
        env[0],
        json!({ "name": "HTTPS_PROXY", "value": "http://own.test:1" })
    );
    assert!(
        names(env).contains(&"http_proxy") && !names(env).contains(&"https_proxy"),
        "{env}"
    );
    let note = &pod["metadata"]["annotations"]["portcullis.dev/egress-left-alone"];
    assert_eq!(note, "main: HTTPS_PROXY");
}

#[test]
fn an_unmodified_curl_reaches_what_its_pod_may_and_no_more() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let injection = bed(cluster);
    injection.give(&relay());
    let destination = &injection.bed.destination;
    let script = format!(
        "curl -sS -o /dev/null -w 'allowed=%{{http_code}} ' http://{destination}:8080/; \
         curl -sS -D - -o /dev/null http://{destination}:8081/ | grep -i x-portcullis-reason; \
         curl -sS --proxytunnel -o /dev/null http://{destination}:8081/ 2>&1; sleep 600"
    );
    // By a Deployment: its pods are made by a controller, and not by whoever is warned.
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "curl", "namespace": CLIENTS },
        "spec": {
            "selector": { "matchLabels": { "app": "curl" } },
            "template": {
                "metadata": { "labels": { "app": "curl" } },
                "spec": {
                    "serviceAccountName": "builder",
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{ "name": "main", "image": "shell", "args": [script] }],
                },
            },
        },
    });
    cluster.apply(&deployment.to_string());
    cluster.rolled_out(CLIENTS, "curl");
    let selector = ["pods", "-n", CLIENTS, "-l", "app=curl"];
    let sidecar = cluster.field(
        &selector,
        "{.items[0].status.initContainerStatuses[0].ready}",
    );
    assert_eq!(sidecar, "true");
    let mut said = String::new();
    cluster.wait("curl has asked", || {
        said = cluster.logs_of(CLIENTS);
        said.contains("CONNECT tunnel failed, response 403")
    });
    assert!(said.contains("allowed=200"), "{said}");
    assert!(
        said.contains("x-portcullis-reason: egress/port_not_allowed"),
        "{said}"
    );
    // That it was known by its ServiceAccount stands in the audit log of the proxy.
    let log = cluster.logs_of(SYSTEM);
    let pod = cluster.field(&selector, "{.items[0].metadata.name}");
    let known = |line: &&str| line.contains(&pod) && line.contains("builder");
    assert!(log.lines().any(|line| known(&line)), "{log}");
}
