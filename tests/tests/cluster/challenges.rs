//! ACME challenges, answered by Ingresses as cert-manager makes them.

use portcullis_tests::Authority;

use crate::{
    edge::{Edge, NAMESPACE, edge, ingress, secret, web},
    settings::settings,
};

const HOST: &str = "challenged.test";

/// Settings that let nobody through in clear, without a password, or from elsewhere.
const STRICT: &str = "
    accessLists: [{name: nobody, allow: [192.0.2.1/32]}]
    authentications: [{name: staff, external: {backend: sso, path: /auth?status=401}}]
    backends: [{name: sso, endpoints: [{address: 'web.challenges.svc.cluster.local:80'}]}]
";

/// What the settings ask of each request.
const EACH: [(&str, &str, u16); 3] = [
    ("redirected", "https: redirect", 308),
    ("signed in", "authentication: [staff]", 401),
    ("of the list", "access: [nobody]", 403),
];

/// The pod, the Service and the Ingress of a challenge, with the names, labels and fields that
/// cert-manager gives them (pkg/issuer/acme/http of cert-manager 1.18).
fn solver(service_type: &str, path_type: &str, token: &str) -> String {
    let labels = format!(
        "{{acme.cert-manager.io/http-domain: '3242518921', \
         acme.cert-manager.io/http-token: '{}', acme.cert-manager.io/http01-solver: 'true'}}",
        token.len()
    );
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: cm-acme-http-solver-{token}
  namespace: challenges
  labels: {labels}
  annotations: {{sidecar.istio.io/inject: 'false'}}
spec:
  restartPolicy: OnFailure
  containers:
  - name: acmesolver
    image: backend
    args: [--listen=:8089]
    env: [{{name: VERSION, value: {token}}}]
    ports: [{{name: http, containerPort: 8089}}]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {{drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata:
  name: cm-acme-http-solver-{token}
  namespace: challenges
  labels: {labels}
  annotations: {{auth.istio.io/8089: NONE}}
spec:
  type: {service_type}
  ports: [{{name: http, port: 8089, targetPort: 8089}}]
  selector: {labels}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: cm-acme-http-solver-{token}
  namespace: challenges
  labels: {labels}
  annotations: {{nginx.ingress.kubernetes.io/whitelist-source-range: '0.0.0.0/0,::/0'}}
spec:
  ingressClassName: portcullis
  rules:
  - host: {HOST}
    http:
      paths:
      - path: /.well-known/acme-challenge/{token}
        pathType: {path_type}
        backend: {{service: {{name: cm-acme-http-solver-{token}, port: {{number: 8089}}}}}}
"
    )
}

/// Waits for the statuses of paths of the host in clear, from every replica.
fn answers(edge: &Edge, what: &str, expected: &[(&str, u16)]) {
    let mut told = Vec::new();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // Several times: there are two replicas.
    while !(0..6).all(|_| {
        let statuses = expected.iter().map(|(path, _)| edge.status(HOST, path));
        told = statuses.collect();
        told.iter().eq(expected.iter().map(|(_, status)| status))
    }) {
        assert!(
            std::time::Instant::now() < deadline,
            "{what}: {expected:?}, but {told:?}\n{}",
            edge.events(NAMESPACE)
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn a_challenge_of_cert_manager_is_answered_whatever_is_asked_of_others() {
    let Some(edge) = edge() else { return };
    let (certificate, key) = Authority::new().sign(&[HOST]);
    edge.cluster.apply(&web("challenges", 1));
    edge.cluster
        .apply(&secret("challenges", "tls", &certificate, &key));
    let main = ingress("challenges", "web", "portcullis", HOST, Some("tls"));
    edge.cluster.apply(&main);
    edge.cluster.rolled_out("challenges", "web");
    answers(&edge, "it has a certificate", &[("/", 308)]);
    for (number, (what, policy, refused)) in EACH.into_iter().enumerate() {
        let defaults = format!("{STRICT}    defaults: {{{policy}}}\n");
        edge.cluster.apply(&settings(&defaults));
        // Of a host with a certificate, unless the settings say it, the redirect comes first.
        let main = match policy.starts_with("https") {
            true => main.clone(),
            false => ingress("challenges", "web", "portcullis", HOST, None),
        };
        edge.cluster.apply(&main);
        let token = format!("token-{number}{}", "x".repeat(number));
        let path = format!("/.well-known/acme-challenge/{token}");
        answers(&edge, what, &[("/", refused), (&path, refused)]);
        let (service, path_type) = match number % 2 {
            0 => ("NodePort", "Exact"),
            _ => ("ClusterIP", "ImplementationSpecific"),
        };
        let solver = solver(service, path_type, &token);
        edge.cluster.apply(&solver);
        answers(&edge, what, &[(&path, 200), ("/", refused)]);
        // Nothing else is opened by it.
        let beside = "/.well-known/acme-challenge/other";
        let around = format!("{path}/../../../admin");
        answers(&edge, what, &[(beside, refused), (&around, refused)]);
        edge.cluster
            .try_kubectl(&["delete", "-f", "-", "--wait=false"], &solver)
            .expect("it is there");
        answers(&edge, "it is gone", &[(&path, refused), ("/", refused)]);
    }
    // All of it at once.
    let all = "    defaults: {https: redirect, authentication: [staff], access: [nobody]}\n";
    edge.cluster.apply(&settings(&format!("{STRICT}{all}")));
    let solver = solver("NodePort", "ImplementationSpecific", "all");
    edge.cluster.apply(&solver);
    let path = "/.well-known/acme-challenge/all";
    answers(&edge, "all of them", &[(path, 200), ("/", 403)]);
    edge.cluster
        .try_kubectl(&["delete", "-f", "-", "--wait=false"], &solver)
        .expect("it is there");
    answers(&edge, "all of them, and it is gone", &[(path, 403)]);
    edge.cluster.apply(&settings(""));
    edge.cluster
        .kubectl(&["delete", "ingress", "web", "-n", "challenges"]);
}

/// An Ingress of somebody else for all of the host, besides that of its owner for one path.
const SHARED: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: part, namespace: challenges}
spec:
  ingressClassName: portcullis
  rules:
  - host: shared.challenged.test
    http: {paths: [{path: /app, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

#[test]
fn who_has_all_other_paths_of_a_host_does_not_get_its_challenges() {
    let Some(edge) = edge() else { return };
    let host = "shared.challenged.test";
    edge.serve("challenges", "whole.challenged.test", 1);
    edge.serve("guests", "guests.challenged.test", 1);
    edge.cluster.apply(SHARED);
    edge.wait_for(host, 404);
    // It is younger, which is told in seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let rest = ingress("guests", "rest", "portcullis", host, None);
    edge.cluster.apply(&rest);
    edge.wait_for(host, 200);
    edge.cluster.wait("it is told", || {
        edge.events("guests")
            .contains("answered in the namespace of Ingress challenges/part")
    });
    for path in ["/", "/app", "/.well-known/security.txt"] {
        assert_eq!(edge.status(host, path), 200, "{path}");
    }
    for path in [
        "/.well-known/acme-challenge/x",
        "/.well-known/%61cme-challenge/x",
    ] {
        assert_eq!(edge.status(host, path), 404, "{path}");
    }
    for (namespace, name) in [("guests", "rest"), ("challenges", "part")] {
        edge.cluster
            .kubectl(&["delete", "ingress", name, "-n", namespace]);
    }
}
