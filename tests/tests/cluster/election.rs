//! Of several replicas one writes status.

use std::time::{Duration, Instant};

use crate::edge::{ADDRESS, Edge, NAMESPACE, edge, ingress};

fn leader(edge: &Edge) -> String {
    let leases = edge.cluster.field(
        &["leases", "-n", NAMESPACE],
        "{.items[*].spec.holderIdentity}",
    );
    leases
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn address(edge: &Edge, namespace: &str, name: &str) -> String {
    edge.cluster.field(
        &["ingress", name, "-n", namespace],
        "{.status.loadBalancer.ingress[*].ip}",
    )
}

#[test]
fn one_replica_writes_status_and_the_other_takes_over() {
    let Some(edge) = edge() else { return };
    edge.serve("election", "election.test", 1);
    edge.cluster.wait("the address is told", || {
        address(&edge, "election", "web") == ADDRESS
    });
    let first = leader(&edge);
    assert!(first.starts_with("portcullis-"), "{first:?}");
    // Without a word: the Lease runs out, and nobody gives it back.
    edge.cluster.kubectl(&[
        "delete",
        "pod",
        &first,
        "-n",
        NAMESPACE,
        "--grace-period=0",
        "--force",
    ]);
    let began = Instant::now();
    edge.cluster.wait("another leads", || {
        let now = leader(&edge);
        !now.is_empty() && now != first
    });
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    edge.cluster.apply(&ingress(
        "election",
        "later",
        "portcullis",
        "later.election.test",
        None,
    ));
    edge.cluster.wait("its successor tells addresses", || {
        address(&edge, "election", "later") == ADDRESS
    });
    edge.cluster.rolled_out(NAMESPACE, "portcullis");
}

#[test]
fn nothing_but_status_events_and_the_lease_can_be_written() {
    let Some(edge) = edge() else { return };
    let account = format!("system:serviceaccount:{NAMESPACE}:portcullis");
    let may = |verb: &str, what: &str| {
        let arguments = ["auth", "can-i", verb, what, "--as", &account, "-A"];
        edge.cluster.try_kubectl(&arguments, "").is_ok()
    };
    for (verb, what) in [
        ("list", "ingresses.networking.k8s.io"),
        ("watch", "endpointslices.discovery.k8s.io"),
        ("create", "events.events.k8s.io"),
    ] {
        assert!(may(verb, what), "{verb} {what}");
    }
    let status = [
        "auth",
        "can-i",
        "patch",
        "ingresses.networking.k8s.io",
        "--subresource=status",
    ];
    let status = [&status[..], &["--as", &account, "-A"]].concat();
    assert!(edge.cluster.try_kubectl(&status, "").is_ok());
    for verb in ["create", "update", "patch", "delete"] {
        for what in [
            "ingresses.networking.k8s.io",
            "services",
            "secrets",
            "configmaps",
            "pods",
        ] {
            assert!(!may(verb, what), "{verb} {what}");
        }
    }
    assert!(!may("create", "roles.rbac.authorization.k8s.io"));
}
