//! Settings of the whole gateway, from a ConfigMap.

use crate::edge::{NAMESPACE, edge, ingress};

/// The settings of the gateway that the tests share, with more of them.
pub(crate) fn settings(more: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: portcullis-config, namespace: {NAMESPACE}}}
data:
  settings.yaml: |
    listeners:
    - {{name: http, protocol: http}}
    - {{name: https, protocol: https}}
    management: {{address: '[::]:9090'}}
{more}"
    )
}

#[test]
fn an_edit_is_picked_up_and_a_bad_one_is_refused_and_told() {
    let Some(edge) = edge() else { return };
    edge.serve("settings", "settings.test", 1);
    edge.cluster.apply(&settings(
        "    accessLists: [{name: nobody, allow: [192.0.2.1/32]}]
    defaults: {access: [nobody]}
",
    ));
    edge.wait_for("settings.test", 403);
    edge.cluster
        .apply(&settings("    defaults: {acess: [nobody]}\n"));
    edge.cluster.wait("the refusal is told", || {
        let events = edge.events(NAMESPACE);
        events.contains("acess")
    });
    // The last good ones go on, and objects with them.
    assert_eq!(edge.status("settings.test", "/"), 403);
    edge.cluster.apply(&ingress(
        "settings",
        "later",
        "portcullis",
        "later.settings.test",
        None,
    ));
    edge.wait_for("later.settings.test", 403);
    edge.cluster.apply(&settings(""));
    edge.wait_for("later.settings.test", 200);
}
