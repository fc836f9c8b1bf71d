//! A proxy with its webhook for pods, their namespaces, and destinations in clear and over TLS.

use std::sync::OnceLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_tests::{Authority, Cluster, portcullis};
use serde_json::{Value, json};

use crate::{
    edge::secret,
    egress_bed::{Bed, pod},
};

/// The namespace of the proxy, which is the webhook as well.
pub(crate) const SYSTEM: &str = "egress-injection";
/// A namespace whose pods are given something.
pub(crate) const CLIENTS: &str = "egress-clients";
/// One whose pods are not.
pub(crate) const OTHERS: &str = "egress-others";

/// The host of the proxy, for pods.
const PROXY: &str = "proxy.egress-injection.svc.cluster.local";
/// A destination that speaks TLS, into which the proxy looks.
pub(crate) const SECURE: &str = "secure.egress-injection.svc.cluster.local";

const ARGUMENTS: &[&str] = &[
    "--update-status=false",
    "--webhook-address=0.0.0.0:8444",
    "--webhook-certificate=egress-injection/webhook",
];

/// The bed, and what else of it tests ask for.
pub(crate) struct Injection {
    pub(crate) bed: Bed,
    /// Has signed the certificate of the proxy's listener with TLS.
    of_proxy: Authority,
    /// Signs what clients are shown inside of tunnels.
    of_inspection: Authority,
}

/// The proxy, its webhook and destinations.
pub(crate) fn bed(cluster: &'static Cluster) -> &'static Injection {
    static BED: OnceLock<Injection> = OnceLock::new();
    BED.get_or_init(|| {
        let of_webhook = Authority::new();
        let (certificate, key) = of_webhook.sign(&["webhook.egress-injection.svc"]);
        let injection = Injection {
            bed: Bed::install(cluster, SYSTEM, ARGUMENTS),
            of_proxy: Authority::named("authority of the proxy"),
            of_inspection: Authority::named("authority of inspection"),
        };
        cluster.apply(&secret(SYSTEM, "webhook", &certificate, &key));
        cluster.apply(&objects());
        injection.destination_with_tls();
        injection.mount_files();
        let mut bed = injection.bed.clone();
        bed.give_rights(&[ARGUMENTS, &["--egress-token-review"]].concat());
        injection.configure(&relay());
        bed.ready();
        cluster.apply(&webhook(&of_webhook));
        // The program that stands for our image.
        cluster.ask(&json!({ "do": "images", "images": {
            "portcullis-relay": { "command": [portcullis()], "env": { "PATH": path() } },
        } }));
        Injection { bed, ..injection }
    })
}

fn objects() -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: {CLIENTS}, labels: {{portcullis.dev/egress: injected}}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {OTHERS}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: builder, namespace: {CLIENTS}}}
---
apiVersion: v1
kind: Service
metadata: {{name: webhook, namespace: {SYSTEM}}}
spec: {{selector: {{app: proxy}}, ports: [{{port: 443, targetPort: 8444}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: proxy, namespace: {SYSTEM}}}
spec: {{selector: {{app: proxy}}, ports: [{{name: clear, port: 3128}}, {{name: tls, port: 3129}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: secure, namespace: {SYSTEM}}}
spec: {{selector: {{app: secure}}, ports: [{{port: 443, targetPort: 8443}}]}}
"
    )
}

/// As docs/egress-workloads.md has it.
fn webhook(authority: &Authority) -> String {
    format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {{name: {SYSTEM}}}
webhooks:
- name: egress.portcullis.dev
  rules:
  - {{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced}}
  namespaceSelector:
    matchExpressions:
    - {{key: portcullis.dev/egress, operator: In, values: [injected, enforced]}}
    - {{key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system, {SYSTEM}]}}
  objectSelector:
    matchExpressions:
    - {{key: portcullis.dev/egress-injection, operator: NotIn, values: [disabled]}}
  clientConfig:
    caBundle: {}
    service: {{namespace: {SYSTEM}, name: webhook, path: /inject}}
  reinvocationPolicy: IfNeeded
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 5
",
        BASE64_STANDARD.encode(authority.pem())
    )
}

/// Where a probe finds `portcullis`.
fn path() -> String {
    let folder = portcullis()
        .parent()
        .expect("a folder")
        .display()
        .to_string();
    format!("{folder}:/usr/bin:/bin")
}

/// What is given by default here: the relay.
pub(crate) fn relay() -> Value {
    json!({
        "proxy": format!("http://{PROXY}:3128"),
        "relay": { "image": "portcullis-relay" },
        // The destinations are in the cluster.
        "clusterTraffic": "proxy",
    })
}

/// The relay, which speaks TLS to the proxy and knows its authority by a ConfigMap.
pub(crate) fn relay_over_tls() -> Value {
    let mut injection = relay();
    injection["proxy"] = json!(format!("https://{PROXY}:3129"));
    injection["relay"]["proxyCa"] = json!({ "configMap": "proxy-ca", "key": "ca.crt" });
    injection
}

fn settings(destination: &str, injection: &Value) -> Value {
    let file = |name: &str| format!("/etc/files/{name}");
    json!({
        "listeners": [
            { "name": "proxy" },
            { "name": "over-tls", "address": "[::]:3129", "tls": { "defaultCertificate": "proxy" } },
        ],
        "clusterRanges": ["10.244.0.0/16", "10.96.0.0/16"],
        "inspection": {
            "certificate": file("inspection.crt"), "key": file("inspection.key"), "trust": file("trust.crt"),
        },
        "identity": {
            "level": "required", "pods": {},
            "serviceAccountTokens": { "audience": "portcullis", "tokenReview": {} },
        },
        "policies": [{
            "name": "builds",
            "subjects": [{ "namespace": CLIENTS, "serviceAccount": "builder" }],
            "allow": [
                { "cidr": destination, "ports": [8080], "private": true },
                { "host": SECURE, "private": true, "inspect": true, "paths": ["/allowed"] },
            ],
        }],
        "workloads": { "injection": injection },
    })
}

impl Injection {
    /// Has pods given this, which is in force when it returns.
    pub(crate) fn give(&self, injection: &Value) {
        self.configure(injection);
        let cluster = self.bed.cluster;
        let probe = pod(CLIENTS, "probe", &json!({}), &json!({})).to_string();
        let mut last = String::new();
        cluster.wait("pods are given what is asked for", || {
            // The endpoints of its Service may not be known yet where the API server is.
            let arguments = ["create", "-f", "-", "--dry-run=server", "-o", "json"];
            let made = cluster.try_kubectl(&arguments, &probe);
            last = made.unwrap_or_else(|error| error);
            is_given(injection, &serde_json::from_str(&last).unwrap_or_default())
        });
    }

    fn configure(&self, injection: &Value) {
        let certificates = json!({ "certificates": [
            { "name": "proxy", "certificate": "/etc/files/proxy.crt", "key": "/etc/files/proxy.key" },
        ] });
        let files = json!({ "certificates.yaml": certificates.to_string() });
        let bed = &self.bed;
        bed.configure(&settings(&bed.destination, injection), &files);
    }

    /// Has ConfigMaps in the namespace of clients: whom the relay and whom programs trust.
    pub(crate) fn trusted(&self) {
        for (name, key, authority) in [
            ("proxy-ca", "ca.crt", &self.of_proxy),
            ("trust", "bundle.crt", &self.of_inspection),
        ] {
            self.trust(name, key, authority);
        }
    }

    /// Has one of them name an authority.
    pub(crate) fn trust(&self, name: &str, key: &str, authority: &Authority) {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": CLIENTS }, "data": { key: authority.pem() },
        });
        self.bed.cluster.apply(&map.to_string());
    }

    /// A pod that speaks TLS, behind the Service `secure`, and the proxy's files for it.
    fn destination_with_tls(&self) {
        let cluster = self.bed.cluster;
        let of_destination = Authority::named("authority of the destination");
        let (certificate, key) = of_destination.sign(&[SECURE]);
        cluster.apply(&secret(SYSTEM, "secure", &certificate, &key));
        let spec = json!({
            "containers": [{
                "name": "main", "image": "backend",
                "args": ["--listen=:8443", "--tls-cert=/tls/tls.crt", "--tls-key=/tls/tls.key"],
                "volumeMounts": [{ "name": "tls", "mountPath": "/tls" }],
            }],
            "volumes": [{ "name": "tls", "secret": { "secretName": "secure" } }],
        });
        let labels = json!({ "labels": { "app": "secure" } });
        cluster.apply(&pod(SYSTEM, "secure", &labels, &spec).to_string());
        let (certificate, key) = self.of_proxy.sign(&[PROXY]);
        let files = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "files", "namespace": SYSTEM },
            "stringData": {
                "proxy.crt": certificate, "proxy.key": key,
                "inspection.crt": self.of_inspection.pem(), "inspection.key": self.of_inspection.key_pem(),
                "trust.crt": of_destination.pem(),
            },
        });
        cluster.apply(&files.to_string());
    }

    /// Has them in the pod of the proxy.
    fn mount_files(&self) {
        let patch = json!({ "spec": { "template": { "spec": {
            "volumes": [{ "name": "files", "secret": { "secretName": "files" } }],
            "containers": [{
                "name": "portcullis",
                "volumeMounts": [{ "name": "files", "mountPath": "/etc/files" }],
            }],
        } } } });
        let arguments = ["patch", "deployment", "proxy", "-n", SYSTEM, "-p"];
        let patch = patch.to_string();
        self.bed
            .cluster
            .kubectl(&[&arguments[..], &[&patch]].concat());
    }
}

/// Whether a pod has been given this.
fn is_given(injection: &Value, pod: &Value) -> bool {
    let identity = injection["identity"].as_str().unwrap_or("relay");
    let note = &pod["metadata"]["annotations"]["portcullis.dev/egress-injected"];
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let has = |name: &str| volumes.clone().any(|volume| volume["name"] == name);
    note == identity
        && has("portcullis-egress-trust") == injection["trust"].is_object()
        && has("portcullis-egress-proxy-ca") == injection["relay"]["proxyCa"].is_object()
}
