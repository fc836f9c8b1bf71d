//! Objects of Kubernetes from manifests, served without a cluster.

use std::{fs, io::Write, path::Path, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::Request;
use http_body_util::Full;
use portcullis_tests::{Authority, Backend, Client, Gateway, portcullis};
use rustls::pki_types::ServerName;
use tempfile::TempDir;

const LISTENERS: &str = "
listeners:
- {name: http, protocol: http, address: '127.0.0.1:0'}
- {name: https, protocol: https, address: '127.0.0.1:0'}
";

/// An Ingress with rules, each a host, a path and a Service.
fn ingress(name: &str, tls: &str, rules: &[(&str, &str, &str)]) -> String {
    let rules: Vec<String> = rules
        .iter()
        .map(|(host, path, service)| {
            format!(
                "  - host: '{host}'
    http:
      paths: [{{path: {path}, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]
"
            )
        })
        .collect();
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: shop}}
spec:
  tls: [{tls}]
  rules:
{}",
        rules.concat()
    )
}

/// A Service with one endpoint.
fn service(name: &str, backend: &Backend) -> String {
    let (ip, port) = (backend.address.ip(), backend.address.port());
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: ['{ip}']}}]
"
    )
}

fn secret(name: &str, certificate: &str, key: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: shop}}
type: kubernetes.io/tls
data: {{tls.crt: {}, tls.key: {}}}
",
        BASE64_STANDARD.encode(certificate),
        BASE64_STANDARD.encode(key)
    )
}

/// Starts a gateway with settings and manifests.
fn start(settings: &str, manifests: &[String]) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = write(folder.path(), manifests);
    Gateway::start_in(folder, settings, &["--manifests", &path])
}

fn write(folder: &Path, manifests: &[String]) -> String {
    let below = folder.join("manifests/below");
    fs::create_dir_all(&below).expect("writable");
    fs::write(below.join("all.yaml"), manifests.concat()).expect("writable");
    folder.join("manifests").display().to_string()
}

async fn status(gateway: &Gateway, host: &str, path: &str) -> u16 {
    let mut client = Client::h1(gateway.http()).await;
    let response = client.get(host, path).await.expect("an answer");
    response.status().as_u16()
}

/// Whether a host is served with a certificate that an authority has signed for it.
async fn is_trusted(gateway: &Gateway, authority: &Authority, host: &str) -> bool {
    let stream = tokio::net::TcpStream::connect(gateway.https())
        .await
        .expect("a connection");
    let connector = tokio_rustls::TlsConnector::from(authority.client(&["http/1.1"]));
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    connector.connect(name, stream).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_answers_503_on_its_own_path() {
    let backend = Backend::start("a").await;
    let gateway = start(
        LISTENERS,
        &[
            ingress(
                "web",
                "",
                &[
                    ("shop.test", "/", "a"),
                    ("shop.test", "/api", "missing"),
                    ("*.tenant.test", "/", "a"),
                ],
            ),
            ingress("other", "", &[("other.test", "//wrong", "a")]),
            service("a", &backend),
        ],
    );
    for (host, path, expected) in [
        ("shop.test", "/", 200),
        ("shop.test", "/apis", 200),
        ("shop.test", "/api", 503),
        ("shop.test", "/api/x", 503),
        ("one.tenant.test", "/", 200),
        // One label, as the API says, and not the name itself.
        ("two.one.tenant.test", "/", 404),
        ("tenant.test", "/", 404),
        ("unknown.test", "/", 404),
    ] {
        assert_eq!(status(&gateway, host, path).await, expected, "{host}{path}");
    }
    let (_, problems) = gateway.admin("/config/problems");
    assert!(
        problems.contains("there is no Service shop/missing"),
        "{problems}"
    );
    assert!(
        problems.contains("spec.rules[0].http.paths[0]") && problems.contains("//wrong"),
        "{problems}"
    );
    let told: serde_json::Value = serde_json::from_str(&problems).expect("JSON");
    let mut told = told["problems"].as_array().into_iter().flatten();
    let missing = told.find(|told| told["category"] == "ServiceNotFound");
    let reason = missing.expect("the category")["reason"].to_string();
    assert!(
        reason.contains("there is no Service shop/missing"),
        "{reason}"
    );
}

/// An IngressClass of ours with parameters, and the ConfigMap that they name.
fn class(name: &str, policies: &str) -> String {
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: {name}}}
spec:
  controller: portcullis.dev/ingress-controller
  parameters: {{kind: ConfigMap, scope: Namespace, namespace: shop, name: {name}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: shop}}
data: {{policies.yaml: '{policies}'}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_without_its_parameters_is_closed_and_no_other_is() {
    let backend = Backend::start("a").await;
    let of_class = |class: &str, name: &str, path: &str| {
        let rules = [(&*format!("{class}.test"), path, "a")];
        let spec = format!("spec:\n  ingressClassName: {class}\n");
        ingress(name, "", &rules).replace("spec:\n", &spec)
    };
    let challenge = "/.well-known/acme-challenge/token";
    let solver = of_class("broken", "solver", challenge).replace(
        "namespace: shop",
        "namespace: shop, labels: {acme.cert-manager.io/http01-solver: \"true\"}",
    );
    let solver = solver.replace("Prefix", "Exact");
    let gateway = start(
        &format!("{LISTENERS}accessLists: [{{name: nobody, allow: [192.0.2.1/32]}}]\n"),
        &[
            class("closed", "policies: {access: [nobody]}"),
            class("open", "policies: {}"),
            class("broken", "policies: {acess: [nobody]}"),
            class("unknown", "policies: {access: [anybody]}"),
            class("gone", "policies: {}").replace("kind: ConfigMap\n", "kind: Other\n"),
            of_class("closed", "closed", "/"),
            of_class("open", "open", "/"),
            of_class("broken", "broken", "/"),
            of_class("unknown", "unknown", "/"),
            of_class("gone", "gone", "/"),
            solver,
            service("a", &backend),
        ],
    );
    for (host, path, expected) in [
        ("closed.test", "/", 403),
        ("open.test", "/", 200),
        ("broken.test", "/", 503),
        // What limits of the class it would have to pass is not known.
        ("broken.test", challenge, 503),
        ("unknown.test", "/", 503),
        ("gone.test", "/", 503),
    ] {
        assert_eq!(status(&gateway, host, path).await, expected, "{host}{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_certificate_hurts_its_own_hosts() {
    let backend = Backend::start("a").await;
    let authority = Authority::new();
    let (good, good_key) = authority.sign(&["good.shop.test"]);
    let (wild, wild_key) = authority.sign(&["*.shop.test", "good.shop.test"]);
    let (_, other_key) = authority.sign(&["bad.shop.test"]);
    let tls = |host: &str, secret: &str| format!("{{hosts: ['{host}'], secretName: {secret}}}");
    for broken in [
        String::new(),
        secret("bad", "", ""),
        secret("bad", "no certificate", "no key"),
        secret("bad", &wild, &other_key),
    ] {
        let gateway = start(
            LISTENERS,
            &[
                ingress(
                    "bad",
                    &tls("bad.shop.test", "bad"),
                    &[("bad.shop.test", "/", "a")],
                ),
                ingress(
                    "good",
                    &tls("good.shop.test", "good"),
                    &[("good.shop.test", "/", "a")],
                ),
                ingress(
                    "wild",
                    &tls("*.shop.test", "wild"),
                    &[("*.shop.test", "/", "a")],
                ),
                service("a", &backend),
                secret("good", &good, &good_key),
                secret("wild", &wild, &wild_key),
                broken.clone(),
            ],
        );
        assert!(is_trusted(&gateway, &authority, "good.shop.test").await);
        assert!(is_trusted(&gateway, &authority, "x.shop.test").await);
        // The wildcard of somebody else would do, and is not taken.
        assert!(
            !is_trusted(&gateway, &authority, "bad.shop.test").await,
            "{broken}"
        );
        let (_, problems) = gateway.admin("/config/problems");
        assert!(problems.contains("Secret shop/bad") || problems.contains("secret:shop/bad"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_are_answered_whatever_the_settings_ask_for() {
    let backend = Backend::start("a").await;
    let settings = format!(
        "{LISTENERS}
accessLists: [{{name: nobody, allow: [192.0.2.1/32]}}]
defaults: {{access: [nobody], https: redirect, waf: {{profile: own}}, rateLimits: [few]}}
rateLimits: [{{name: few, rate: 3/h, burst: 3}}]
wafProfiles: [{{name: own, rules: [{{inline: 'SecRule REQUEST_URI \"@contains attack\" \"id:1,phase:1,deny,status:418\"'}}]}}]
"
    );
    let solver = ingress(
        "cm-acme-http-solver-x",
        "",
        &[
            ("shop.test", "/.well-known/acme-challenge/token", "a"),
            ("shop.test", "/.well-known/acme-challenge/to/ken", "a"),
            ("shop.test", "/not-a-challenge", "a"),
        ],
    );
    let solver = solver.replace("Prefix", "ImplementationSpecific").replace(
        "namespace: shop}",
        "namespace: shop, labels: {acme.cert-manager.io/http01-solver: 'true'}}",
    );
    let web = ingress("web", "", &[("shop.test", "/", "a")]);
    let gateway = start(&settings, &[solver, web, service("a", &backend)]);
    let token = "/.well-known/acme-challenge/token";
    for (path, expected) in [
        ("/.well-known/acme-challenge/token/below", 403),
        ("/.well-known/acme-challenge/to/ken", 403),
        ("/.well-known/acme-challenge/other", 403),
        ("/not-a-challenge", 403),
        ("/", 403),
        (token, 200),
        // The WAF and the limits hold for it.
        (&format!("{token}?attack"), 418),
        (token, 200),
        (token, 429),
    ] {
        assert_eq!(
            status(&gateway, "shop.test", path).await,
            expected,
            "{path}"
        );
    }
    let mut client = Client::h1(gateway.http()).await;
    let posted = Request::post(token)
        .header("host", "shop.test")
        .body(Full::<Bytes>::default())
        .expect("a request");
    let posted = client.send(posted).await.expect("an answer");
    assert_eq!(posted.status().as_u16(), 403);
}

#[test]
fn check_tells_what_would_be_served() {
    let folder: TempDir = tempfile::tempdir().expect("a temporary folder");
    let manifests = write(
        folder.path(),
        &[ingress("web", "", &[("shop.test", "/", "missing")])],
    );
    let run = |arguments: &[&str]| {
        let output = Command::new(portcullis())
            .arg("check")
            .args(arguments)
            .output()
            .expect("the binary starts");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8(text).expect("text"),
        )
    };
    let (good, told) = run(&["--manifests", &manifests]);
    assert!(!good, "{told}");
    assert!(
        told.contains(
            "Ingress/shop/web spec.rules[0].http.paths[0].backend: error: there is no Service shop/missing"
        ),
        "{told}"
    );
    // What is no manifest is named with its place.
    let wrong = folder.path().join("manifests/wrong.yaml");
    fs::write(
        &wrong,
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nspec: {rules: 7}\n",
    )
    .expect("writable");
    let (good, told) = run(&["--manifests", &manifests]);
    assert!(!good && told.contains("wrong.yaml"), "{told}");
}

/// The keys of two ConfigMaps with settings, and of one that nobody names.
const RULE_MAPS: &str = r#"---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: gw}
data:
  settings.yaml: |
    wafProfiles:
    - name: shop
      rules:
      - file: configmap:gw/rules/FILE
    defaults: {waf: {profile: shop, mode: block}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: rules, namespace: gw}
data:
  shop.conf: |
    SecRuleEngine On
    SecRule ARGS "@pmFromFile words.txt" "id:1,phase:1,deny,status:406"
    Include more.conf
  more.conf: |
    SecRule ARGS "@pmFromFile packed.txt.gz" "id:2,phase:1,deny,status:409"
  pattern.conf: |
    Include *.conf
  broken.conf: |
    SecRule ARGS "@pmFromFile none.txt" "id:3,phase:1,deny"
  words.txt: forbidden
  other.yaml: 'rateLimits: []'
binaryData: {packed.txt.gz: PACKED}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: rules, namespace: shop}
data: {shop.conf: SecRuleEngine Off}
"#;

fn rule_maps(file: &str) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(b"packed-word\n").expect("memory");
    let packed = BASE64_STANDARD.encode(encoder.finish().expect("memory"));
    RULE_MAPS
        .replace("gw/rules/FILE", file)
        .replace("PACKED", &packed)
}

#[tokio::test(flavor = "multi_thread")]
async fn waf_rules_and_their_data_come_from_config_maps_with_settings() {
    let backend = Backend::start("a").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifests = write(
        folder.path(),
        &[
            ingress("web", "", &[("shop.test", "/", "a")]),
            service("a", &backend),
            rule_maps("gw/rules/shop.conf"),
        ],
    );
    let named = ["--configmap=gw/rules", "--configmap=gw/settings"];
    let arguments = [&["--manifests", manifests.as_str()], &named[..]].concat();
    let gateway = Gateway::start_in(folder, LISTENERS, &arguments);
    for (query, expected) in [("fine", 200), ("forbidden", 406), ("a-packed-word", 409)] {
        let path = format!("/?a={query}");
        assert_eq!(
            status(&gateway, "shop.test", &path).await,
            expected,
            "{query}"
        );
    }
    for (file, expected) in [
        (
            "gw/rules/none.conf",
            "ConfigMap gw/rules has no key none.conf",
        ),
        (
            "shop/rules/shop.conf",
            "ConfigMap shop/rules is not read: no --configmap names it",
        ),
        (
            "gw/rules/broken.conf",
            "ConfigMap gw/rules has no key none.txt",
        ),
        (
            "gw/rules/pattern.conf",
            "configmap:gw/rules: it is no folder; name each of its keys",
        ),
        (
            "gw/rules",
            "configmap:gw/rules is not configmap:NAMESPACE/NAME/KEY",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let manifests = write(folder.path(), &[rule_maps(file)]);
        let listeners = folder.path().join("listeners.yaml");
        fs::write(&listeners, LISTENERS).expect("writable");
        let output = Command::new(portcullis())
            .args(["check", "--manifests", &manifests])
            .arg(&listeners)
            .args(named)
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && said.contains(expected),
            "{file}: {said}"
        );
        assert!(
            said.contains("ConfigMap/gw/settings/settings.yaml:"),
            "{file}: {said}"
        );
    }
}
