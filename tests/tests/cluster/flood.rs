//! Who names very many Secrets does not hold up others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::edge::{edge, ingress};

/// Ingresses of a round, and Secrets that each names, none of which is there.
const INGRESSES: usize = 30;
const SECRETS: usize = 40;
/// Changes of another, one after the other. Where it waits for all that came before it, it waits
/// longer each time.
const CHANGES: usize = 6;
/// The longest that each may take, with a binary that is not optimised, on a busy machine.
const LONGEST: Duration = Duration::from_secs(45);

/// Ingresses that name Secrets which nobody has named before.
fn flood(round: usize) -> String {
    let mut text = String::new();
    for number in 0..INGRESSES {
        text.push_str(&format!(
            "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: flood-{number}, namespace: flood}}
spec:
  ingressClassName: portcullis
  rules: [{{host: n{number}.flood.test}}]
  tls:
"
        ));
        for secret in 0..SECRETS {
            text.push_str(&format!(
                "  - {{hosts: [s{secret}.n{number}.flood.test], secretName: s-{round}-{number}-{secret}}}\n"
            ));
        }
    }
    text
}

#[test]
fn who_names_very_many_secrets_does_not_hold_up_the_changes_of_others() {
    let Some(edge) = edge() else { return };
    edge.serve("flooded", "flooded.test", 1);
    edge.cluster
        .apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: flood}\n");
    let ends = Arc::new(AtomicBool::new(false));
    let stream = {
        let (cluster, ends) = (edge.cluster, Arc::clone(&ends));
        std::thread::spawn(move || {
            let mut rounds = 0;
            while !ends.load(Ordering::Relaxed) {
                cluster.apply(&flood(rounds));
                rounds += 1;
                // Others have tests on this machine.
                std::thread::sleep(Duration::from_millis(300));
            }
            rounds
        })
    };
    edge.cluster.wait("the flood has begun", || {
        let arguments = ["ingress", "flood-29", "-n", "flood"];
        !edge
            .cluster
            .field(&arguments, "{.metadata.name}")
            .is_empty()
    });
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let host = format!("host-{number}.flooded.test");
        edge.cluster
            .apply(&ingress("flooded", "later", "portcullis", &host, None));
        let began = Instant::now();
        edge.wait_for(&host, 200);
        times.push(began.elapsed());
    }
    ends.store(true, Ordering::Relaxed);
    let rounds = stream.join().expect("the flood ends");
    println!("{times:?} with {rounds} rounds of {INGRESSES} Ingresses with {SECRETS} Secrets");
    for namespace in ["flood", "flooded"] {
        edge.cluster
            .kubectl(&["delete", "ingress", "--all", "-n", namespace]);
    }
    let longest = times.iter().max().expect("some");
    assert!(*longest < LONGEST, "{longest:?}");
}
