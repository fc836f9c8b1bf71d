//! Ingresses move from the class of another controller and back, under load.

use portcullis_tests::Load;

use crate::edge::{NAMESPACE, edge, ingress, web};

/// The class of the controller that is left.
const OTHER: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
";

#[test]
fn a_class_is_taken_over_and_given_back_under_load() {
    let Some(edge) = edge() else { return };
    edge.cluster.apply(OTHER);
    edge.serve("takeover", "stays.test", 1);
    edge.cluster.apply(&web("moved", 1));
    edge.cluster
        .apply(&ingress("moved", "web", "nginx", "moved.test", None));
    edge.cluster.rolled_out("moved", "web");
    assert_eq!(edge.status("moved.test", "/"), 404);
    assert_eq!(
        edge.cluster
            .field(&["ingress", "web", "-n", "moved"], "{.status}"),
        r#"{"loadBalancer":{}}"#,
        "the status of another controller's Ingress is its own"
    );
    let load = Load::begin(edge.cluster, "outside", edge.asked("stays.test", 100));
    // Ingress by Ingress: its class is another.
    edge.cluster
        .apply(&ingress("moved", "web", "portcullis", "moved.test", None));
    edge.wait_for("moved.test", 200);
    edge.cluster
        .apply(&ingress("moved", "web", "nginx", "moved.test", None));
    edge.wait_for("moved.test", 404);
    // What its controller writes from now on stays.
    let status = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}}"#;
    edge.cluster.kubectl(&[
        "patch",
        "ingress",
        "web",
        "-n",
        "moved",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let address = "{.status.loadBalancer.ingress[*].ip}";
    let told = edge
        .cluster
        .field(&["ingress", "web", "-n", "moved"], address);
    assert_eq!(told, "192.0.2.7");
    let (count, failures) = load.end();
    assert!(
        failures.is_empty(),
        "{} of {count}: {:#?}\n{}",
        failures.len(),
        &failures[..failures.len().min(5)],
        edge.cluster.logs_of(NAMESPACE)
    );
}
