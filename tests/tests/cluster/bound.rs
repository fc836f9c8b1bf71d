//! More Secrets are named than may be read.

use portcullis_tests::{Authority, Cluster};

use crate::{
    edge::{edge, ingress, secret, web},
    narrow::is_trusted,
    own::{gateway, rights},
};

/// The namespace of this gateway.
const SYSTEM: &str = "bound-gateway";
/// The class that it serves.
const CLASS: &str = "bound";
/// The Ingresses, in the order in which they are made: their namespaces and hosts.
const INGRESSES: [(&str, &str); 4] = [
    ("bound-many", "one.many.test"),
    ("bound-many", "two.many.test"),
    ("bound-many", "three.many.test"),
    ("bound-few", "one.few.test"),
];

const SETTINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: portcullis-config, namespace: bound-gateway}
data:
  settings.yaml: |
    listeners: [{name: https, protocol: https}]
    management: {address: '[::]:9090'}
";

/// Waits until just some hosts have their own certificates.
fn serves(cluster: &Cluster, authority: &Authority, what: &str, expected: [bool; 4]) {
    let mut last = [false; 4];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while last != expected {
        assert!(
            std::time::Instant::now() < deadline,
            "{what}: {expected:?}, but {last:?}\n{}",
            cluster.logs_of(SYSTEM)
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
        last = INGRESSES.map(|(_, host)| is_trusted(cluster, SYSTEM, host, authority));
    }
}

#[test]
fn of_too_many_secrets_each_namespace_has_those_of_its_oldest_ingresses() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let authority = Authority::new();
    for namespace in ["bound-many", "bound-few"] {
        cluster.apply(&web(namespace, 1));
    }
    for (number, (namespace, host)) in INGRESSES.into_iter().enumerate() {
        let name = format!("number-{number}");
        let certificate = authority.sign(&[host]);
        cluster.apply(&secret(namespace, &name, &certificate.0, &certificate.1));
        cluster.apply(&ingress(namespace, &name, CLASS, host, Some(&name)));
        // Their age is in seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n"
    ));
    cluster.apply(&rights(&[
        "--service-account=portcullis-bound",
        "--system-namespace=bound-gateway",
    ]));
    cluster.apply(SETTINGS);
    // It reads two Secrets.
    cluster.apply(&gateway(
        SYSTEM,
        CLASS,
        &[
            "--configmap=bound-gateway/portcullis-config",
            "--secrets=named",
            "--max-named-secrets=2",
        ],
    ));
    cluster.rolled_out(SYSTEM, "bound");
    serves(
        cluster,
        &authority,
        "one of each",
        [true, false, false, true],
    );
    for name in ["number-1", "number-2"] {
        cluster.wait(&format!("{name} is told"), || {
            let events = edge.events("bound-many");
            events.contains(&format!("secret:bound-many/{name}/tls.crt: not read"))
                || events.contains(name) && events.contains("--max-named-secrets")
        });
    }
    // Who has few is not pushed out by somebody's older Ingress that names more.
    cluster.kubectl(&["delete", "ingress", "number-0", "-n", "bound-many"]);
    serves(
        cluster,
        &authority,
        "the next one",
        [false, true, false, true],
    );
    cluster.kubectl(&["delete", "ingress", "number-3", "-n", "bound-few"]);
    serves(
        cluster,
        &authority,
        "all there are",
        [false, true, true, false],
    );
}
