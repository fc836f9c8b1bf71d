//! The control plane goes away and comes back.

use std::time::Duration;

use portcullis_tests::Load;
use serde_json::json;

use crate::edge::{Edge, NAMESPACE, edge, ingress};

/// How many pods of the gateway are ready, as the cluster sees it.
fn ready(edge: &Edge) -> String {
    edge.cluster.field(
        &["deployment", "portcullis", "-n", NAMESPACE],
        "{.status.readyReplicas}",
    )
}

#[test]
fn an_api_server_that_is_away_for_a_minute_is_not_missed() {
    let Some(edge) = edge() else { return };
    edge.serve("outage", "outage.test", 2);
    let load = Load::begin(edge.cluster, "outside", edge.asked("outage.test", 50));
    edge.cluster
        .ask(&json!({"do": "kill", "name": "apiserver"}));
    std::thread::sleep(Duration::from_secs(60));
    edge.cluster
        .ask(&json!({"do": "start", "name": "apiserver"}));
    let (count, failures) = load.end();
    assert!(count > 2500, "{count} requests");
    assert!(
        failures.is_empty(),
        "{:#?}",
        &failures[..failures.len().min(5)]
    );
    edge.cluster.wait("both are ready", || ready(&edge) == "2");
    // And what changes from now on is served.
    edge.cluster.apply(&ingress(
        "outage",
        "later",
        "portcullis",
        "later.test",
        None,
    ));
    edge.wait_for("later.test", 200);
}

#[test]
fn versions_that_have_expired_are_listed_again() {
    let Some(edge) = edge() else { return };
    edge.serve("expired", "expired.test", 1);
    for component in ["etcd", "apiserver"] {
        edge.cluster
            .ask(&json!({"do": "restart", "name": component}));
    }
    edge.cluster.ask(&json!({"do": "compact"}));
    edge.cluster
        .ask(&json!({"do": "restart", "name": "apiserver"}));
    edge.cluster
        .wait("the API server is back", || ready(&edge) == "2");
    edge.cluster.apply(&ingress(
        "expired",
        "later",
        "portcullis",
        "later.expired.test",
        None,
    ));
    edge.wait_for("later.expired.test", 200);
    edge.cluster
        .kubectl(&["delete", "ingress", "later", "-n", "expired"]);
    edge.wait_for("later.expired.test", 404);
}
