//! Policies of a class of Ingresses, from the ConfigMap that its parameters name.

use crate::{
    edge::{NAMESPACE, edge, ingress},
    own::rights,
    settings::settings,
};

/// The namespace of what is served, and of the ConfigMap.
const SERVED: &str = "parameters";

fn config_map(text: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: limits, namespace: {SERVED}}}
data: {{policies.yaml: '{text}'}}
"
    )
}

/// Settings with one access list.
fn list(name: &str, ranges: &str) -> String {
    format!("    accessLists: [{{name: {name}, allow: [{ranges}]}}]\n")
}

#[test]
fn a_class_is_served_by_its_parameters_and_closed_without_them() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    edge.serve(SERVED, "plain.parameters.test", 1);
    cluster.apply(&format!(
        "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: limited}}
spec:
  controller: portcullis.dev/ingress-controller
  parameters: {{kind: ConfigMap, scope: Namespace, namespace: {SERVED}, name: limits}}
"
    ));
    let host = "limited.parameters.test";
    cluster.apply(&config_map("policies: {https: required}"));
    cluster.apply(&ingress(SERVED, "limited", "limited", host, None));
    // There is no right to read the ConfigMap.
    edge.wait_for(host, 503);
    cluster.wait("the class is told of", || {
        edge.events("default")
            .contains("ConfigMap parameters/limits cannot be read")
    });
    cluster.apply(&rights(&["--class-parameters=parameters/limits"]));
    edge.wait_for(host, 403);
    // Edits are taken up live, and a bad one keeps the last good version.
    cluster.apply(&config_map("policies: {}"));
    edge.wait_for(host, 200);
    cluster.apply(&config_map("policies: {https: needed}"));
    cluster.wait("the refusal is told", || {
        edge.events(SERVED)
            .contains("its last version that could be serves on")
    });
    edge.wait_for(host, 200);
    cluster.apply(&config_map("policies: {https: required}"));
    edge.wait_for(host, 403);
    // What names nothing that there is waits for settings that have it.
    cluster.apply(&config_map("policies: {access: [offices]}"));
    cluster.wait("the name is told", || {
        edge.events(SERVED)
            .contains("policies.access: there is no access list")
    });
    edge.wait_for(host, 403);
    edge.wait_for("plain.parameters.test", 200);
    cluster.apply(&settings(&list("offices", "'::/0', 0.0.0.0/0")));
    edge.wait_for(host, 200);
    // Settings without it are refused, and objects change beside them.
    cluster.apply(&settings(&list("bureaus", "192.0.2.1/32")));
    cluster.wait("the refusal is told", || {
        let events = edge.events(NAMESPACE);
        events.contains("ConfigMap parameters/limits names in policies.access")
            && events.contains("for IngressClass limited")
    });
    let later = "later.parameters.test";
    cluster.apply(&ingress(SERVED, "later", "limited", later, None));
    edge.wait_for(later, 200);
    edge.wait_for(host, 200);
    // With the other half of the change both count.
    cluster.apply(&config_map("policies: {access: [bureaus]}"));
    edge.wait_for(host, 403);
    cluster.apply(&config_map("policies: {https: required}"));
    cluster.apply(&settings(""));
    cluster.kubectl(&["delete", "ingress", "later", "-n", SERVED]);
    edge.wait_for(host, 403);
    // Replicas that start are ready only when they know it.
    cluster.kubectl(&[
        "rollout",
        "restart",
        "-n",
        NAMESPACE,
        "deployment/portcullis",
    ]);
    cluster.rolled_out(NAMESPACE, "portcullis");
    edge.wait_for(host, 403);
    cluster.kubectl(&["delete", "configmap", "limits", "-n", SERVED]);
    edge.wait_for(host, 503);
    edge.wait_for("plain.parameters.test", 200);
    cluster.kubectl(&["delete", "ingressclass", "limited"]);
    edge.wait_for(host, 404);
}
