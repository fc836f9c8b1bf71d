//! A gateway of its own with the rights to one namespace and to Secrets by name, and its
//! admission webhook.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_tests::{Authority, Cluster};

use crate::{
    edge::{edge, ingress, secret, web},
    own::{gateway, rights},
};

/// The namespace of this gateway.
const SYSTEM: &str = "narrow-gateway";
/// The one that it serves.
const SERVED: &str = "narrow";
/// The class that it serves.
const CLASS: &str = "narrow";

/// What is applied for the gateway, besides itself and its rights.
const BESIDES: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: portcullis-config, namespace: narrow-gateway}
data:
  settings.yaml: |
    listeners:
    - {name: http, protocol: http}
    - {name: https, protocol: https}
    management: {address: '[::]:9090'}
---
apiVersion: v1
kind: Service
metadata: {name: webhook, namespace: narrow-gateway}
spec:
  selector: {app: narrow}
  ports: [{name: https, port: 443, targetPort: 8444}]
";

/// Whether the only gateway of a namespace has the certificate of an authority for a host.
pub(crate) fn is_trusted(
    cluster: &Cluster,
    system: &str,
    host: &'static str,
    authority: &Authority,
) -> bool {
    let address = cluster.field(&["pods", "-n", system], "{.items[0].status.podIP}");
    let config = authority.client(&["http/1.1"]);
    cluster.within("node-a", move || async move {
        let address = format!("{address}:8443");
        let Ok(stream) = tokio::net::TcpStream::connect(address).await else {
            return false;
        };
        let name = rustls::pki_types::ServerName::try_from(host).expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        connector.connect(name, stream).await.is_ok()
    })
}

#[test]
fn a_gateway_with_narrow_rights_reads_named_secrets_and_refuses_what_cannot_be_served() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let authority = Authority::new();
    let webhook = authority.sign(&["webhook.narrow-gateway.svc"]);
    let [listed, unlisted] =
        ["listed.narrow.test", "unlisted.narrow.test"].map(|host| authority.sign(&[host]));
    cluster.apply(&web(SERVED, 1));
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n---\n{}{}{}",
        secret(SYSTEM, "webhook", &webhook.0, &webhook.1),
        secret(SERVED, "listed", &listed.0, &listed.1),
        secret(SERVED, "unlisted", &unlisted.0, &unlisted.1),
    ));
    cluster.apply(&rights(&[
        "--service-account=portcullis-narrow",
        "--system-namespace=narrow-gateway",
        "--namespace=narrow",
        "--secrets=named",
        "--secret=narrow/listed",
        "--webhook-certificate=narrow-gateway/webhook",
    ]));
    for name in ["listed", "unlisted"] {
        let host = format!("{name}.narrow.test");
        cluster.apply(&ingress(SERVED, name, CLASS, &host, Some(name)));
    }
    cluster.apply(BESIDES);
    cluster.apply(&gateway(
        SYSTEM,
        CLASS,
        &[
            "--configmap=narrow-gateway/portcullis-config",
            "--watch-namespace=narrow",
            "--secrets=named",
            "--webhook-address=[::]:8444",
            "--webhook-certificate=narrow-gateway/webhook",
        ],
    ));
    cluster.rolled_out(SYSTEM, "narrow");
    cluster.wait("the listed Secret is served", || {
        is_trusted(cluster, SYSTEM, "listed.narrow.test", &authority)
    });
    let told = || cluster.field(&["events", "-n", SERVED], "{.items[*].message}");
    cluster.wait("the other one is told of", || {
        told().contains("Secret narrow/unlisted cannot be read: secrets \"unlisted\" is forbidden")
    });
    assert!(!told().contains("Secret narrow/listed"), "{}", told());
    assert!(!is_trusted(
        cluster,
        SYSTEM,
        "unlisted.narrow.test",
        &authority
    ));

    cluster.apply(&format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: narrow}}
webhooks:
- name: ingress.narrow.test
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {SERVED}}}}}
  rules:
  - {{apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [ingresses]}}
  clientConfig:
    caBundle: {}
    service: {{namespace: {SYSTEM}, name: webhook, path: /validate}}
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 5
",
        BASE64_STANDARD.encode(authority.pem())
    ));
    let good = ingress(SERVED, "asked", CLASS, "asked.narrow.test", None);
    let bad = good.replace(
        "{service: {name: web, port: {name: http}}}",
        "{resource: {apiGroup: storage.test, kind: Bucket, name: files}}",
    );
    let mut refusal = String::new();
    cluster.wait("the API server asks the webhook", || {
        match cluster.try_kubectl(&["apply", "-f", "-"], &bad) {
            Ok(_) => {
                cluster.kubectl(&["delete", "ingress", "asked", "-n", SERVED]);
                false
            }
            Err(said) => {
                refusal = said;
                refusal.contains("denied the request")
            }
        }
    });
    let reason = "Ingress/narrow/asked spec.rules[0].http.paths[0].backend: error: \
                  a resource (Bucket files) cannot be a backend: its requests get 503";
    assert!(refusal.contains(reason), "{refusal}");
    // A Service may come later, and an Ingress of another class is not ours to judge.
    cluster.apply(&good.replace("name: web, port", "name: later, port"));
    cluster.apply(&bad.replace(
        "ingressClassName: narrow",
        "ingressClassName: somebody-elses",
    ));
    // Its certificate is rotated, and the one before is not good any more.
    let other = Authority::new();
    let rotated = other.sign(&["webhook.narrow-gateway.svc"]);
    cluster.apply(&secret(SYSTEM, "webhook", &rotated.0, &rotated.1));
    let bundle = format!(
        r#"[{{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"{}"}}]"#,
        BASE64_STANDARD.encode(other.pem())
    );
    cluster.kubectl(&[
        "patch",
        "validatingwebhookconfiguration",
        "narrow",
        "--type=json",
        "-p",
        &bundle,
    ]);
    cluster.wait("the new certificate is served", || {
        let applied = cluster.try_kubectl(&["apply", "-f", "-"], &bad);
        applied.is_err_and(|said| said.contains("denied the request"))
    });
    cluster.kubectl(&["delete", "validatingwebhookconfiguration", "narrow"]);
}
