//! The gateway that the tests share, and what they serve through it.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_tests::{Asked, Cluster, cluster};

/// Where clients outside of the cluster find it.
pub(crate) const ADDRESS: &str = "198.18.100.10";

/// The namespace of the gateway.
pub(crate) const NAMESPACE: &str = "portcullis-ingress";

/// What the tests share: some change the gateway itself, and then no other runs.
pub(crate) struct Edge {
    pub(crate) cluster: &'static Cluster,
    _alone: MutexGuard<'static, ()>,
}

/// The cluster with the gateway in it; `None` where there can be none.
pub(crate) fn edge() -> Option<Edge> {
    static ALONE: Mutex<()> = Mutex::new(());
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let cluster = cluster()?;
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    INSTALLED.get_or_init(|| install(cluster));
    Some(Edge {
        cluster,
        _alone: alone,
    })
}

fn install(cluster: &Cluster) {
    cluster.apply(include_str!(
        "../../../deploy/manifests/ingress/namespace.yaml"
    ));
    cluster.apply(include_str!("../../../deploy/manifests/rbac.yaml"));
    cluster.apply(include_str!("edge.yaml"));
    let status = format!(r#"{{"status":{{"loadBalancer":{{"ingress":[{{"ip":"{ADDRESS}"}}]}}}}}}"#);
    cluster.kubectl(&[
        "patch",
        "service",
        "portcullis",
        "-n",
        NAMESPACE,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ]);
    cluster.rolled_out(NAMESPACE, "portcullis");
}

impl Edge {
    /// A namespace with a Deployment `web` of so many pods, a Service and an Ingress for a host.
    pub(crate) fn serve(&self, namespace: &str, host: &str, replicas: usize) {
        self.cluster.apply(&web(namespace, replicas));
        self.cluster
            .apply(&ingress(namespace, "web", "portcullis", host, None));
        self.cluster.rolled_out(namespace, "web");
        self.wait_for(host, 200);
    }

    /// The status that a client outside of the cluster gets for a host.
    pub(crate) fn status(&self, host: &str, path: &str) -> u16 {
        let (host, path) = (host.to_owned(), path.to_owned());
        self.cluster.within("outside", move || async move {
            let client = reqwest::Client::builder()
                .resolve(&host, http())
                .redirect(reqwest::redirect::Policy::none())
                .timeout(Duration::from_secs(5))
                .no_proxy()
                .build()
                .expect("a client");
            let sent = client.get(format!("http://{host}{path}")).send().await;
            sent.map_or(0, |response| response.status().as_u16())
        })
    }

    /// The namespace of the pod that answers a host.
    pub(crate) fn namespace_of(&self, host: &str) -> String {
        let host = host.to_owned();
        let body = self.cluster.within("outside", move || async move {
            let client = reqwest::Client::builder()
                .resolve(&host, http())
                .timeout(Duration::from_secs(5))
                .no_proxy()
                .build()
                .expect("a client");
            let sent = client.get(format!("http://{host}/")).send().await.ok()?;
            sent.json::<serde_json::Value>().await.ok()
        });
        let body = body.unwrap_or_default();
        body["namespace"].as_str().unwrap_or_default().to_owned()
    }

    /// Everything that Events of a namespace say.
    pub(crate) fn events(&self, namespace: &str) -> String {
        // As JSON: YAML folds long lines.
        let arguments = ["get", "events", "-n", namespace, "-o", "json"];
        self.cluster.try_kubectl(&arguments, "").unwrap_or_default()
    }

    /// Waits for a status, from every replica: several answers in a row.
    pub(crate) fn wait_for(&self, host: &str, status: u16) {
        let mut last = 0;
        self.cluster.wait(&format!("{host} answers {status}"), || {
            (0..6).all(|_| {
                last = self.status(host, "/");
                last == status
            })
        });
    }

    /// Requests for a host, so many in a second.
    pub(crate) fn asked(&self, host: &str, rate: u32) -> Asked {
        Asked {
            host: host.to_owned(),
            address: http(),
            tls: None,
            rate,
        }
    }
}

/// The address for requests in clear.
pub(crate) fn http() -> SocketAddr {
    format!("{ADDRESS}:80").parse().expect("an address")
}

/// The address for requests over TLS.
pub(crate) fn https() -> SocketAddr {
    format!("{ADDRESS}:443").parse().expect("an address")
}

/// A Deployment and its Service.
pub(crate) fn web(namespace: &str, replicas: usize) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 1, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: web
        image: backend
        env:
        - {{name: VERSION, value: '1'}}
        - {{name: POD_NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec:
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
"
    )
}

/// A Secret with a certificate and its key.
pub(crate) fn secret(namespace: &str, name: &str, certificate: &str, key: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
type: kubernetes.io/tls
data: {{tls.crt: {}, tls.key: {}}}
---
",
        BASE64_STANDARD.encode(certificate),
        BASE64_STANDARD.encode(key)
    )
}

/// An Ingress for a host, with a Secret where it has one.
pub(crate) fn ingress(
    namespace: &str,
    name: &str,
    class: &str,
    host: &str,
    secret: Option<&str>,
) -> String {
    let tls = secret.map_or(String::new(), |secret| {
        format!("  tls: [{{hosts: [{host}], secretName: {secret}}}]\n")
    });
    format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  ingressClassName: {class}
{tls}  rules:
  - host: {host}
    http:
      paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{name: http}}}}}}}}]
"
    )
}
