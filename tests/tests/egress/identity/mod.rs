//! Who a client is: tokens of ServiceAccounts, and policies by them.

mod open;

use std::{path::Path, process::Command};

use portcullis_tests::{
    Authority, Backend, Gateway, Raw, Recorder, TokenIssuer, raw, replace, status_of, wait_for,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::site::{PUBLIC, Site, reason};

const BUILDER: (&str, &str) = ("ci", "builder");
const RAW: &str = "[{host: raw.example, ports: [22], raw: true}]";

/// A folder with the keys of an issuer.
fn keys(issuers: &[&TokenIssuer]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    replace(&folder.path().join("jwks.json"), TokenIssuer::jwks(issuers));
    folder
}

fn section(level: &str, keys: &Path) -> String {
    let tokens = json!({
        "jwks": keys.join("jwks.json"),
        "issuer": TokenIssuer::ISSUER,
        "audience": "portcullis",
        "clockSkew": "0s",
    });
    format!("identity: {{level: {level}, serviceAccountTokens: {tokens}}}")
}

fn policy(name: &str, subjects: &str, allow: &str) -> String {
    format!("  - {{name: {name}, subjects: [{subjects}], allow: {allow}}}\n")
}

fn good(issuer: &TokenIssuer, account: (&str, &str)) -> String {
    issuer.sign(&TokenIssuer::claims("portcullis", account, 600))
}

/// Asks for a tunnel with header lines of the test's own.
fn ask(connection: &mut Raw, target: &str, lines: &str) -> String {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n");
    connection.send(head.as_bytes()).response()
}

fn bearer(token: &str) -> String {
    format!("Proxy-Authorization: Bearer {token}\r\n")
}

fn password(token: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let encoded = BASE64_STANDARD.encode(format!("token:{token}"));
    format!("Proxy-Authorization: Basic {encoded}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_good_token_gets_nowhere_and_is_told_why() {
    let recorder = Recorder::start().await;
    let (issuer, other) = (TokenIssuer::new("one"), TokenIssuer::new("one"));
    let folder = keys(&[&issuer]);
    let site = Site::start_with(
        &section("required", folder.path()),
        // No mode lifts it.
        "  - {name: all, subjects: [{addresses: [127.0.0.0/8]}], mode: open, allowAll: true}\n",
        &[&format!("raw.example={PUBLIC}")],
        &[(&format!("{PUBLIC}:443"), recorder.address)],
    );
    let changed = |name: &str, value: Value| {
        let mut claims = TokenIssuer::claims("portcullis", BUILDER, 600);
        claims[name] = value;
        bearer(&issuer.sign(&claims))
    };
    let token = good(&issuer, BUILDER);
    let cases = [
        (String::new(), "token_missing"),
        (bearer(""), "bad_credentials"),
        (bearer("a.b.c"), "bad_token"),
        (bearer(&"x".repeat(8193)), "token_too_large"),
        (
            "Proxy-Authorization: Negotiate YII=\r\n".into(),
            "unsupported_scheme",
        ),
        (
            "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n".into(),
            "bad_token",
        ),
        (bearer(&token) + &bearer(&token), "duplicate_credentials"),
        (password(&token) + &bearer(&token), "duplicate_credentials"),
        // The field of the origin says nothing to a proxy.
        (bearer(&token).replace("Proxy-", ""), "token_missing"),
        (
            bearer(&TokenIssuer::new("two").sign(&json!({}))),
            "unknown_key",
        ),
        (bearer(&good(&other, BUILDER)), "bad_signature"),
        (changed("iss", json!("https://other.test")), "bad_issuer"),
        (
            changed("aud", json!("https://kubernetes.default.svc")),
            "bad_audience",
        ),
        (changed("exp", json!(1_700_000_000)), "token_expired"),
        (
            changed("nbf", json!(4_000_000_000_u64)),
            "token_not_yet_valid",
        ),
        (
            changed("sub", json!("system:node:n")),
            "not_service_account",
        ),
    ];
    for (lines, expected) in &cases {
        let mut connection = Raw::connect(site.proxy());
        let answer = ask(&mut connection, "raw.example:443", lines);
        assert_eq!(status_of(&answer), 407, "{lines}: {answer}");
        assert_eq!(reason(&answer), format!("egress/{expected}"), "{lines}");
        assert!(
            answer.contains(&format!("\"reason\":\"{expected}\"")),
            "{answer}"
        );
        let challenge = "\r\nproxy-authenticate: Basic realm=\"portcullis\", Bearer\r\n";
        assert!(answer.contains(challenge), "{answer}");
        wait_for("the audit line", || {
            let lines = site.gateway.audit_lines();
            lines
                .iter()
                .any(|line| line["reason"] == *expected && line["status"] == 407)
        });
        // Nor by a plain request, where another proxy would forward it first.
        let request = format!("GET http://raw.example:443/ HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let answer = raw(site.proxy(), request.as_bytes());
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            (407, &*format!("egress/{expected}"))
        );
    }
    // A value over two lines is no head of today's HTTP (RFC 9112 section 5.2).
    let folded = bearer(&token).replace("Bearer ", "Bearer\r\n ");
    let answer = ask(&mut Raw::connect(site.proxy()), "raw.example:443", &folded);
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (400, "egress/bad_head")
    );
    let huge = bearer(&"x".repeat(64 << 10));
    let answer = ask(&mut Raw::connect(site.proxy()), "raw.example:443", &huge);
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (431, "egress/head_too_large")
    );
    assert_eq!(recorder.bytes(), 0);
    for line in site.gateway.audit_lines() {
        assert!(
            line["identity"].is_null() && line["policy"].is_null(),
            "{line}"
        );
        assert!(line["resolved"].is_null(), "nothing is looked up: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_passes_in_either_scheme_is_told_in_the_audit_and_goes_no_further() {
    let authority = Authority::new();
    let plain = Backend::start("plain").await;
    let tls = Backend::start_tls("tls", authority.server(&["api.example"], &["http/1.1"])).await;
    let issuer = TokenIssuer::new("one");
    let folder = keys(&[&issuer]);
    let site = Site::start_with(
        &section("required", folder.path()),
        &policy(
            "ci",
            "{namespace: ci, serviceAccount: builder}",
            "[api.example]",
        ),
        &[&format!("api.example={PUBLIC}")],
        &[
            (&format!("{PUBLIC}:80"), plain.address),
            (&format!("{PUBLIC}:443"), tls.address),
        ],
    );
    let ca = folder.path().join("ca.crt");
    replace(&ca, authority.pem());
    let token = good(&issuer, BUILDER);
    let in_url = format!("http://token:{token}@{}", site.proxy());
    let bare = format!("http://{}", site.proxy());
    let header = format!("Proxy-Authorization: bearer {token}");
    for (proxy, more, url, expected) in [
        (&in_url, None, "http://api.example/x", "plain /x"),
        (&in_url, None, "https://api.example/x", "tls /x"),
        (&bare, Some(&header), "http://api.example/x", "plain /x"),
        (&bare, Some(&header), "https://api.example/x", "tls /x"),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "10", "--cacert"]).arg(&ca);
        curl.args(["--proxy", proxy, url]);
        curl.args(more.into_iter().flat_map(|more| ["--proxy-header", more]));
        let output = curl.output().expect("curl runs");
        let (said, failed) = (output.stdout, output.stderr);
        let failed = String::from_utf8_lossy(&failed).replace(&token, "TOKEN");
        assert_eq!(String::from_utf8_lossy(&said), expected, "{url}: {failed}");
    }
    for backend in [&plain, &tls] {
        assert_eq!(backend.requests(), 2);
        assert_eq!(backend.last().header("proxy-authorization"), "");
    }
    let line = site.audit("api.example");
    assert_eq!(line["policy"], "ci");
    assert_eq!(
        line["identity"],
        json!({
            "by": "token",
            "namespace": "ci",
            "serviceAccount": "builder",
            "pod": "builder-0",
            "podUid": "8c9a7a1c-1111-4c2e-9b5e-000000000002",
        })
    );
    let part = token.rsplit('.').next().expect("a signature");
    let audit: String = site
        .gateway
        .audit_lines()
        .iter()
        .map(Value::to_string)
        .collect();
    assert!(!audit.contains(part) && !site.gateway.log().contains(part));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_connection_is_of_its_own_client() {
    let recorder = Recorder::start().await;
    let issuer = TokenIssuer::new("one");
    let folder = keys(&[&issuer]);
    let policies = [
        policy("builder", "{namespace: ci, serviceAccount: builder}", RAW),
        policy("ci", "{namespace: ci}", "[a.example]"),
        policy(
            "elsewhere",
            "{namespace: shop, addresses: [10.0.0.0/8]}",
            RAW,
        ),
        policy("shop", "{namespace: shop, addresses: [127.0.0.0/8]}", "[]"),
    ]
    .concat();
    let site = Site::start_with(
        &section("required", folder.path()),
        &policies,
        &[&format!("raw.example={PUBLIC}")],
        &[(&format!("{PUBLIC}:22"), recorder.address)],
    );
    let mut connection = Raw::connect(site.proxy());
    for (account, expected) in [
        (Some(("ci", "other")), "egress/not_allowed"),
        (None, "egress/token_missing"),
        (Some(("shop", "builder")), "egress/not_allowed"),
        (Some(("Ci", "builder")), "egress/no_policy"),
        (Some(("ops", "builder")), "egress/no_policy"),
        (None, "egress/token_missing"),
        (Some(BUILDER), ""),
    ] {
        let line = account.map(|account| bearer(&good(&issuer, account)));
        let answer = ask(&mut connection, "raw.example:22", &line.unwrap_or_default());
        assert_eq!(reason(&answer), expected, "{account:?}: {answer}");
    }
    connection.send(b"hello");
    wait_for("the bytes", || recorder.bytes() == 5);
    let policies = || {
        let lines = site.gateway.audit_lines();
        let told = |line: &Value| {
            (
                line["identity"]["namespace"].clone(),
                line["policy"].clone(),
            )
        };
        lines.iter().map(told).collect::<Vec<_>>()
    };
    wait_for("the audit lines", || policies().len() == 6);
    assert_eq!(
        policies(),
        [
            (json!("ci"), json!("ci")),
            (Value::Null, Value::Null),
            (json!("shop"), json!("shop")),
            (json!("Ci"), Value::Null),
            (json!("ops"), Value::Null),
            (Value::Null, Value::Null),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn socks_carries_no_token_and_is_refused_where_one_is_required() {
    let issuer = TokenIssuer::new("one");
    let folder = keys(&[&issuer]);
    let yaml = format!(
        "egress:\n  listeners: [{{name: socks, protocol: socks5, address: '127.0.0.1:0'}}]\n  {}\n  policies:\n{}",
        section("required", folder.path()),
        policy("all", "{addresses: [127.0.0.0/8]}", RAW)
    );
    let arguments = ["--test-dns", "raw.example=93.184.215.14"];
    let gateway = Gateway::start_in(tempfile::tempdir().expect("a folder"), &yaml, &arguments);
    let mut client = Raw::connect(gateway.at("egress/socks"));
    client.send(&[5, 1, 0]);
    assert_eq!(client.read(2), [5, 0]);
    client.send(b"\x05\x01\x00\x03\x0braw.example\x00\x16");
    assert_eq!(client.read(2), [5, 2], "not allowed");
    wait_for("the audit line", || {
        let lines = gateway.audit_lines();
        lines
            .iter()
            .any(|line| line["reason"] == "socks_without_token")
    });
    assert!(gateway.log().contains("SOCKS5 carries no token"));
}
