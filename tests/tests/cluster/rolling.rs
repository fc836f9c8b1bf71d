//! Pods come and go under load: those behind the gateway, and its own.

use std::time::Duration;

use portcullis_tests::Load;

use crate::edge::{NAMESPACE, edge};

/// Requests in a second.
const RATE: u32 = 300;

#[test]
fn a_rolling_update_of_a_backend_fails_no_request() {
    let Some(edge) = edge() else { return };
    edge.serve("rolling", "rolling.test", 5);
    let load = Load::begin(edge.cluster, "outside", edge.asked("rolling.test", RATE));
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"VERSION","value":"2"}]}]}}}}"#;
    edge.cluster
        .kubectl(&["patch", "deployment", "web", "-n", "rolling", "-p", patch]);
    edge.cluster.rolled_out("rolling", "web");
    // The last of the old ones is still on its way out.
    std::thread::sleep(Duration::from_secs(3));
    let (count, failures) = load.end();
    assert!(count > RATE as usize * 3, "{count} requests");
    assert!(
        failures.is_empty(),
        "{} of {count}: {:#?}\n{}",
        failures.len(),
        &failures[..failures.len().min(5)],
        edge.cluster.logs_of(NAMESPACE)
    );
}

#[test]
fn a_rollout_of_the_gateway_fails_no_request() {
    let Some(edge) = edge() else { return };
    edge.serve("rollout", "rollout.test", 2);
    let load = Load::begin(edge.cluster, "outside", edge.asked("rollout.test", RATE));
    edge.cluster.kubectl(&[
        "rollout",
        "restart",
        "deployment/portcullis",
        "-n",
        NAMESPACE,
    ]);
    edge.cluster.rolled_out(NAMESPACE, "portcullis");
    // The last of the old ones is still on its way out.
    std::thread::sleep(Duration::from_secs(10));
    let (count, failures) = load.end();
    assert!(
        failures.is_empty(),
        "{} of {count}: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
}
