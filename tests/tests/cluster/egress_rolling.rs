//! Pods come and go that an egress proxy knows by their addresses.

use serde_json::{Value, json};

use crate::{edge::edge, egress_bed::Bed};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-rolling";

/// Pods at once.
const PODS: usize = 3;

fn settings(destination: &str) -> Value {
    json!({
        "identity": {"level": "address", "pods": {}},
        "policies": [{
            "name": "web", "subjects": [{"namespace": SYSTEM, "serviceAccount": "builder"}],
            "allow": [{"cidr": destination, "ports": [8080], "private": true, "raw": true}],
        }],
    })
}

/// Pods that ask through the proxy from their first moment to their last, a line for each answer,
/// and that are ready once they get what they ask for.
fn deployment(proxy: &str, destination: &str) -> Value {
    let url = format!("http://{destination}:8080/");
    let asks = format!(
        "curl -s -o /dev/null --max-time 20 --proxytunnel -x http://{proxy}:3128 -w '%{{http_connect}} %{{http_code}}\\n' {url}"
    );
    // It goes on for a second when it is told to end, as what has requests under way does.
    let script = format!(
        "trap 'ends=10' TERM; while [ \"$ends\" != 0 ]; do {asks}; sleep 0.1; \
         [ -z \"$ends\" ] || ends=$((ends - 1)); done; echo end"
    );
    let probe =
        format!("curl -sf -o /dev/null --max-time 5 --proxytunnel -x http://{proxy}:3128 {url}");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": SYSTEM },
        "spec": {
            "replicas": PODS,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "serviceAccountName": "builder",
                    "containers": [{
                        "name": "main", "image": "shell", "args": [script],
                        "readinessProbe": {
                            "exec": { "command": ["/bin/sh", "-c", probe] },
                            "periodSeconds": 1, "timeoutSeconds": 10,
                        },
                    }],
                },
            },
        },
    })
}

#[test]
fn no_request_of_a_ready_pod_is_refused_while_pods_are_replaced() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let mut bed = Bed::install(cluster, SYSTEM, &["--update-status=false"]);
    bed.configure(&settings(&bed.destination), &json!({}));
    bed.ready();
    let bed = bed;
    cluster.apply(&deployment(&bed.proxy, &bed.destination).to_string());
    cluster.rolled_out(SYSTEM, "web");
    let all = ["pods", "-n", SYSTEM, "-l", "app=web"];
    let uids = || cluster.field(&all, "{.items[*].metadata.uid}");
    let before = uids();
    for _ in 0..2 {
        cluster.kubectl(&["rollout", "restart", "deployment/web", "-n", SYSTEM]);
        cluster.rolled_out(SYSTEM, "web");
    }
    let replaced = || {
        let now = uids();
        now.split(' ').count() == PODS && now.split(' ').all(|uid| !before.contains(uid))
    };
    cluster.wait("the pods of before are gone", replaced);
    let after = uids();
    let said = cluster.said_in(SYSTEM).into_iter();
    cluster.kubectl(&["delete", "deployment", "web", "-n", SYSTEM, "--wait=false"]);

    let of_web = said.filter(|(pod, _)| pod.contains("_web-"));
    let mut ended = 0;
    let mut pods = 0;
    for (pod, said) in of_web {
        pods += 1;
        // One that runs may be about to say the rest of a line.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let answers: Vec<&str> = whole.lines().collect();
        // It asks before the proxy can know it, and is told to try again; then it is ready.
        let known = answers.iter().position(|answer| *answer == "200 200");
        let (early, ready) = answers.split_at(known.unwrap_or(answers.len()));
        assert!(
            early.iter().all(|answer| *answer == "403 000"),
            "{pod}: {said}"
        );
        let (last, ready) = match ready.split_last() {
            Some((&"end", ready)) => ("end", ready),
            _ => ("", ready),
        };
        assert!(
            ready.iter().all(|answer| *answer == "200 200"),
            "{pod}: {said}"
        );
        let is_there = after.split(' ').any(|uid| pod.ends_with(uid));
        assert_eq!(last == "end", !is_there, "{pod}: {said}");
        ended += usize::from(!is_there);
        assert!(is_there || ready.len() > 10, "{pod}: {said}");
    }
    assert_eq!((pods, ended), (3 * PODS, 2 * PODS));

    // What was refused was refused since the pod was new, and for nothing else.
    let records = cluster.records_in(SYSTEM);
    let denied = records.iter().filter(|record| record["verdict"] == "deny");
    for record in denied {
        assert_eq!(record["reason"], "identity_unknown", "{record}");
    }
}
