//! Policies of a class of Ingresses, from the ConfigMap that its parameters name.

use crate::{
    edge::{edge, ingress},
    own::rights,
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
    // What names nothing that there is closes the class, and hurts nobody else.
    cluster.apply(&config_map("policies: {access: [unheard-of]}"));
    edge.wait_for(host, 503);
    edge.wait_for("plain.parameters.test", 200);
    cluster.apply(&config_map("policies: {https: required}"));
    edge.wait_for(host, 403);
    // Replicas that start are ready only when they know it.
    cluster.kubectl(&[
        "rollout",
        "restart",
        "-n",
        crate::edge::NAMESPACE,
        "deployment/portcullis",
    ]);
    cluster.rolled_out(crate::edge::NAMESPACE, "portcullis");
    edge.wait_for(host, 403);
    cluster.kubectl(&["delete", "configmap", "limits", "-n", SERVED]);
    edge.wait_for(host, 503);
    edge.wait_for("plain.parameters.test", 200);
    cluster.kubectl(&["delete", "ingressclass", "limited"]);
    edge.wait_for(host, 404);
}
