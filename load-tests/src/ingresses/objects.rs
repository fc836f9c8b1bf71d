//! The objects that are made: all of one namespace.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_tests::Authority;
use serde_json::{Value, json};

use super::NODE;

/// Where Ingresses are.
pub(super) const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/many/ingresses";
const CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";
const NAMESPACES: &str = "/api/v1/namespaces";
const SERVICES: &str = "/api/v1/namespaces/many/services";
const SECRETS: &str = "/api/v1/namespaces/many/secrets";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/many/endpointslices";

/// Endpoints of one slice, as many as the controller of Kubernetes puts into one.
const SLICE: usize = 100;

/// The host of an Ingress.
pub(super) fn host(number: usize) -> String {
    format!("web-{number}.test")
}

/// What all share: the namespace, the class, and a Service with the backend at a port of the node.
pub(super) fn shared(port: u16) -> [(&'static str, Value); 4] {
    let class = json!({
        "metadata": {"name": "portcullis"},
        "spec": {"controller": "portcullis.dev/ingress-controller"},
    });
    [
        (NAMESPACES, json!({"metadata": {"name": "many"}})),
        (CLASSES, class),
        (SERVICES, service("web")),
        (SLICES, slice("web", 1, port, &[NODE.to_owned()])),
    ]
}

/// Makes what an Ingress consists of.
pub(super) struct Objects {
    authority: Option<Authority>,
    endpoints: usize,
}

impl Objects {
    pub(super) fn new(authority: Option<Authority>, endpoints: usize) -> Self {
        Self {
            authority,
            endpoints,
        }
    }

    /// An Ingress and what it refers to, which comes first.
    pub(super) fn of(&self, number: usize) -> Vec<(&'static str, Value)> {
        let mut all = Vec::new();
        if let Some(authority) = &self.authority {
            let (certificate, key) = authority.sign(&[&host(number)]);
            let data: BTreeMap<&str, String> = [("tls.crt", certificate), ("tls.key", key)]
                .map(|(key, pem)| (key, BASE64_STANDARD.encode(pem)))
                .into();
            let secret = json!({
                "metadata": {"name": name(number)}, "type": "kubernetes.io/tls", "data": data,
            });
            all.push((SECRETS, secret));
        }
        if self.endpoints > 0 {
            let idle = idle(number);
            all.push((SERVICES, service(&idle)));
            // Of 10.0.0.0/9 the cluster of the tests has nothing but 10.90.
            let addresses: Vec<String> = (0..self.endpoints)
                .map(|at| number * self.endpoints + at)
                .map(|pod| format!("10.{}.{}.{}", pod >> 16 & 63, pod >> 8 & 255, pod & 255))
                .collect();
            for (at, addresses) in addresses.chunks(SLICE).enumerate() {
                all.push((SLICES, slice(&idle, at + 1, 8080, addresses)));
            }
        }
        all.push((INGRESSES, self.ingress(number, None)));
        all
    }

    /// An Ingress, which may have one host more.
    pub(super) fn ingress(&self, number: usize, more: Option<&str>) -> Value {
        let path = |path: &str, service: &str| {
            json!({
                "path": path, "pathType": "Prefix",
                "backend": {"service": {"name": service, "port": {"number": 80}}},
            })
        };
        let mut paths = vec![path("/", "web")];
        if self.endpoints > 0 {
            paths.push(path("/idle", &idle(number)));
        }
        let own = host(number);
        let mut rules = vec![json!({"host": own, "http": {"paths": paths}})];
        rules.extend(more.map(|host| json!({"host": host, "http": {"paths": [path("/", "web")]}})));
        let mut spec = json!({"ingressClassName": "portcullis", "rules": rules});
        if self.authority.is_some() {
            spec["tls"] = json!([{"hosts": [own], "secretName": name(number)}]);
        }
        json!({"metadata": {"name": name(number)}, "spec": spec})
    }
}

fn name(number: usize) -> String {
    format!("web-{number}")
}

fn idle(number: usize) -> String {
    format!("idle-{number}")
}

/// A Service without an address of its own: nobody has to know of it but the gateway.
fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    })
}

fn slice(service: &str, number: usize, port: u16, addresses: &[String]) -> Value {
    let labels =
        json!({"kubernetes.io/service-name": service, "service.kubernetes.io/headless": ""});
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address]}))
        .collect();
    json!({
        "metadata": {"name": format!("{service}-{number}"), "labels": labels},
        "addressType": "IPv4", "ports": [{"port": port}], "endpoints": endpoints,
    })
}
