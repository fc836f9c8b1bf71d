//! Gateways that tests have for themselves, beside the one that they share.

use std::process::Command;

use portcullis_tests::portcullis;

/// The rights that `portcullis rbac` prints with these arguments.
pub(crate) fn rights(arguments: &[&str]) -> String {
    let rights = Command::new(portcullis())
        .arg("rbac")
        .args(arguments)
        .output()
        .expect("the binary runs");
    assert!(rights.status.success(), "{rights:?}");
    String::from_utf8_lossy(&rights.stdout).into_owned()
}

/// A class, and a Deployment with one pod of the gateway that serves it, both of one name; its
/// ServiceAccount has that name too, with `portcullis-` before it.
pub(crate) fn gateway(namespace: &str, name: &str, arguments: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: {name}}}
spec: {{controller: test.invalid/{name}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      serviceAccountName: portcullis-{name}
      containers:
      - name: portcullis
        image: portcullis
        readinessProbe: {{httpGet: {{path: /readyz, port: 9090}}, periodSeconds: 1}}
        args:
        - run
        - --threads=1
        - --kubernetes
        - --controller-class=test.invalid/{name}
"
    );
    for argument in arguments {
        text.push_str(&format!("        - {argument}\n"));
    }
    text.push_str("---\n");
    text
}
