//! A namespace whose only way out is the proxy, with an engine that enforces NetworkPolicies.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portcullis_tests::Cluster;
use tokio::net::TcpStream;

use crate::{edge::edge, egress_bed::Bed, network_policies};

/// The namespace of the client.
const NAMESPACE: &str = "shut-in";

/// `tests/cluster/policies` on node-a. It takes its rules along when it ends.
struct Engine(Child);

impl Engine {
    fn start(cluster: &Cluster) -> Self {
        // What it says of rules that the kernel does not have goes on and on.
        let log =
            std::env::temp_dir().join(format!("portcullis-policies-{}.log", std::process::id()));
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/policies");
        let mut child = Command::new(program)
            .arg(cluster.namespace("node-a"))
            .args([
                "--kubeconfig",
                cluster.kubeconfig_inside(),
                "--node",
                "node-a",
            ])
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log).expect("writable"))
            .spawn()
            .expect("it starts");
        let output = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says something");
        assert!(line.starts_with("enforcing"), "{line:?}");
        Self(child)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Whether a pod can connect to somewhere.
fn connects(bed: &Bed, pod: &str, to: &str) -> bool {
    let to = to.to_owned();
    bed.cluster.within(pod, move || async move {
        let connected = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(to)).await;
        matches!(connected, Ok(Ok(_)))
    })
}

#[test]
fn a_pod_reaches_nothing_but_the_proxy_once_its_namespace_has_the_label() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let _turn = network_policies::turn();
    let bed = network_policies::bed(cluster);
    let label = |value: &str| network_policies::namespace(cluster, NAMESPACE, value);
    label("");
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: client, namespace: {NAMESPACE}}}, spec: {{nodeName: node-a, \
         terminationGracePeriodSeconds: 1, containers: [{{name: main, image: backend}}]}}}}"
    ));
    let client = ["pod", "client", "-n", NAMESPACE];
    cluster.wait("the client has an address", || {
        cluster.field(&client, "{.status.podIP}").contains('.')
    });
    let pod = cluster.field(&client, "{.metadata.uid}");
    let _engine = Engine::start(cluster);
    let elsewhere = [
        ("a pod", format!("{}:8080", bed.destination)),
        ("the API server", "10.96.0.1:443".to_owned()),
        ("DNS", "10.96.0.10:53".to_owned()),
    ];
    for (what, address) in &elsewhere {
        cluster.wait(&format!("{what} is reached"), || {
            connects(bed, &pod, address)
        });
    }
    label("enforced");
    for (what, address) in &elsewhere {
        cluster.wait(&format!("{what} is closed"), || {
            !connects(bed, &pod, address)
        });
    }
    // The proxy answers: it has no policy for such a client.
    assert_eq!(bed.ask(&pod, ""), "403 no_policy");

    // Whoever takes the policy away opens nothing for long.
    let delete = [
        "delete",
        "networkpolicy",
        network_policies::KEPT,
        "-n",
        NAMESPACE,
    ];
    cluster.kubectl(&delete);
    cluster.wait("it stands again", || {
        network_policies::policy(cluster, NAMESPACE).is_some()
    });
    for (what, address) in &elsewhere {
        cluster.wait(&format!("{what} is closed again"), || {
            !connects(bed, &pod, address)
        });
    }
    label("injected");
    for (what, address) in &elsewhere {
        cluster.wait(&format!("{what} is open again"), || {
            connects(bed, &pod, address)
        });
    }
}
