//! TLS towards backends: who is believed, who we say we are, and what is shared.

use std::{fs, sync::Arc};

use portcullis_tests::{Authority, Backend, Gateway, raw, status_of, wait_for};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
const SPIFFE: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A folder with the certificate of an authority, as `ca.crt`.
fn folder(authority: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("ca.crt"), authority.pem()).expect("writable");
    folder
}

/// The configuration of a gateway whose backend has these TLS settings.
fn config(backend: &Backend, tls: &str, settings: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends:
  - name: one
    endpoints: [{{address: {}}}]
    tls: {{ca: ca.crt, {tls}}}
    ejection: {{failures: 0}}{settings}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    )
}

/// The answer to a GET, and why it is no answer of the backend.
fn ask(gateway: &Gateway) -> (u16, String) {
    let response = raw(gateway.http(), GET);
    let reason = response
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: "))
        .unwrap_or_default();
    (status_of(&response), reason.to_owned())
}

/// Of each handshake of a backend, whether it took up a session.
fn resumed(backend: &Backend) -> Vec<bool> {
    backend.handshakes().iter().map(|h| h.resumed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_have_one_of_the_names() {
    let authority = Authority::new();
    let served = ["pod-7.internal", "*.shop.internal", SPIFFE];
    let backend = Backend::start_tls("one", authority.server(&served, &["http/1.1"])).await;
    let good = (200, String::new());
    let bad = (502, "upstream/tls-failed".to_owned());
    for (tls, expected) in [
        ("serverName: pod-7.internal", &good),
        ("serverName: other.internal", &bad),
        // The names are looked for, and the server name is not.
        (
            "serverName: other.internal, subjectAltNames: ['dns:pod-7.internal']",
            &good,
        ),
        (
            "serverName: pod-7.internal, subjectAltNames: ['dns:other.internal']",
            &bad,
        ),
        (
            "serverName: other.internal, subjectAltNames: ['dns:web.shop.internal']",
            &good,
        ),
        (
            "serverName: shop, subjectAltNames: ['dns:no', 'uri:spiffe://cluster.local/ns/shop/sa/web']",
            &good,
        ),
        (
            "serverName: pod-7.internal, subjectAltNames: ['uri:spiffe://cluster.local/ns/shop/sa/we']",
            &bad,
        ),
        (
            "serverName: pod-7.internal, subjectAltNames: ['uri:SPIFFE://cluster.local/ns/shop/sa/web']",
            &bad,
        ),
        // A URI is no host, whatever it looks like.
        (
            "serverName: pod-7.internal, subjectAltNames: ['uri:https://pod-7.internal']",
            &bad,
        ),
    ] {
        let gateway = Gateway::start_in(folder(&authority), &config(&backend, tls, ""), &[]);
        assert_eq!(&ask(&gateway), expected, "{tls}");
    }
    let asked: Vec<_> = backend
        .handshakes()
        .into_iter()
        .map(|h| h.server_name)
        .collect();
    assert!(asked.contains(&"shop".to_owned()), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_trusted_authority_counts_for_nothing() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let backend = Backend::start_tls("one", other.server(&["a.internal", SPIFFE], &[])).await;
    for names in [
        "'dns:a.internal'",
        "'uri:spiffe://cluster.local/ns/shop/sa/web'",
    ] {
        let tls = format!("serverName: a.internal, subjectAltNames: [{names}]");
        let gateway = Gateway::start_in(folder(&trusted), &config(&backend, &tls, ""), &[]);
        assert_eq!(ask(&gateway), (502, "upstream/tls-failed".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_shown_our_certificate_and_its_successor() {
    let authority = Authority::new();
    for (protocol, alpn) in [("http1", "http/1.1"), ("http2", "h2")] {
        let server = authority.server_for_known_clients(&["a.internal"], &[alpn]);
        let backend = Backend::start_tls("one", server).await;
        let folder = folder(&authority);
        authority.write(folder.path(), "client", &["gateway.internal"]);
        let tls = "serverName: a.internal, certificate: client.crt, key: client.key";
        let settings = format!("\n    protocol: {protocol}\n    keepalive: 60s");
        let gateway = Gateway::start_in(folder, &config(&backend, tls, &settings), &[]);
        assert_eq!(ask(&gateway).0, 200);
        assert_eq!(ask(&gateway).0, 200);
        let first = backend.handshakes();
        assert_eq!(first.len(), 1, "the connection is kept");
        assert!(!first[0].client.is_empty());

        authority.write(gateway.folder(), "client", &["gateway.internal"]);
        wait_for("the next certificate", || {
            assert_eq!(ask(&gateway).0, 200);
            let seen = backend.handshakes();
            seen[seen.len() - 1].client != first[0].client
        });

        // A key that is not the certificate's is refused, and the last good pair serves on.
        let (_, stray) = authority.sign(&["gateway.internal"]);
        gateway.write_beside("client.key", &stray);
        wait_for("the refusal", || {
            gateway.metric(r#"portcullis_reloads_total{outcome="refused"}"#) > Some(0.0)
        });
        assert!(
            gateway.log().contains("backends[0].tls.key"),
            "{}",
            gateway.log()
        );
        assert_eq!(ask(&gateway).0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_our_certificate_an_endpoint_that_wants_one_is_not_asked() {
    let authority = Authority::new();
    let server = authority.server_for_known_clients(&["a.internal"], &[]);
    let backend = Backend::start_tls("one", server).await;
    let config = config(&backend, "serverName: a.internal", "");
    let gateway = Gateway::start_in(folder(&authority), &config, &[]);
    assert_eq!(ask(&gateway).0, 502);
    assert_eq!(backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_a_backend_resume_their_sessions() {
    let authority = Authority::new();
    let backend = Backend::start_tls("one", authority.server(&["a.internal"], &[])).await;
    let config = config(&backend, "serverName: a.internal", "\n    keepalive: 0s");
    let gateway = Gateway::start_in(folder(&authority), &config, &[]);
    for _ in 0..4 {
        assert_eq!(ask(&gateway).0, 200);
    }
    assert_eq!(resumed(&backend), [false, true, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_has_sessions_of_its_own() {
    let authority = Authority::new();
    // They do not know each other's tickets.
    let first = Backend::start_tls("one", authority.server(&["a.internal"], &[])).await;
    let second = Backend::start_tls("two", authority.server(&["a.internal"], &[])).await;
    let config = config(&first, "serverName: a.internal", "\n    keepalive: 0s").replace(
        &format!("{{address: {}}}", first.address),
        &format!(
            "{{address: {}}}, {{address: {}}}",
            first.address, second.address
        ),
    );
    let gateway = Gateway::start_in(folder(&authority), &config, &[]);
    for _ in 0..6 {
        assert_eq!(ask(&gateway).0, 200);
    }
    for backend in [first, second] {
        assert_eq!(resumed(&backend), [false, true, true]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_burst_each_connection_takes_up_a_session() {
    const BURST: usize = 24;
    let authority = Authority::new();
    let backend = Backend::start_tls("one", authority.server(&["a.internal"], &[])).await;
    let config = config(&backend, "serverName: a.internal", "\n    keepalive: 0s");
    let gateway = Gateway::start_in(folder(&authority), &config, &[]);
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client");
    let burst = || async {
        let asked = (0..BURST).map(|_| {
            let url = format!("http://{}/sleep/500", gateway.http());
            tokio::spawn(client.get(url).send())
        });
        for asked in asked.collect::<Vec<_>>() {
            let response = asked.await.expect("no panic").expect("an answer");
            assert_eq!(response.status(), 200);
        }
    };
    burst().await;
    burst().await;
    let second = resumed(&backend).split_off(BURST);
    assert_eq!(second, [true; BURST]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_outlive_a_reload_and_end_with_what_is_trusted() {
    let authority = Authority::new();
    let backend = Backend::start_tls("one", authority.server(&["a.internal"], &[])).await;
    let config = config(&backend, "serverName: a.internal", "\n    keepalive: 0s");
    let gateway = Gateway::start_in(folder(&authority), &config, &[]);
    let loads = || gateway.metric(r#"portcullis_reloads_total{outcome="accepted"}"#);
    assert_eq!(ask(&gateway).0, 200);
    gateway.reload(&config.replace("name: any", "name: every"));
    assert_eq!(ask(&gateway).0, 200);
    assert_eq!(resumed(&backend), [false, true]);

    let both = authority.pem() + &Authority::new().pem();
    let before = loads();
    gateway.write_beside("ca.crt", &both);
    wait_for("the other authorities", || loads() > before);
    assert_eq!(ask(&gateway).0, 200);
    assert_eq!(ask(&gateway).0, 200);
    assert_eq!(resumed(&backend), [false, true, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_with_other_trust_share_no_connection() {
    let authority = Authority::new();
    let backend = Backend::start_tls("one", authority.server(&["a.internal"], &[])).await;
    let endpoint = backend.address;
    let config = format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends:
  - {{name: right, endpoints: [{{address: {endpoint}}}], keepalive: 60s, tls: {{ca: ca.crt, serverName: a.internal}}}}
  - {{name: wrong, endpoints: [{{address: {endpoint}}}], keepalive: 60s, tls: {{ca: other.crt, serverName: a.internal}}}}
routes:
  - name: any
    rules:
      - {{matches: [{{path: {{prefix: /wrong}}}}], backends: [{{name: wrong}}]}}
      - {{backends: [{{name: right}}]}}
"
    );
    let folder = folder(&authority);
    fs::write(folder.path().join("other.crt"), Authority::new().pem()).expect("writable");
    let gateway = Gateway::start_in(folder, &config, &[]);
    assert_eq!(ask(&gateway).0, 200);
    let wrong = b"GET /wrong HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status_of(&raw(gateway.http(), wrong)), 502);
    assert_eq!(backend.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_offer_http2_is_told_so() {
    let authority = Authority::new();
    let server = authority.server(&["a.internal"], &["http/1.1"]);
    let backend = Backend::start_tls("one", Arc::clone(&server)).await;
    let config = config(&backend, "serverName: a.internal", "\n    protocol: http2");
    let gateway = Gateway::start_in(folder(&authority), &config, &[]);
    assert_eq!(ask(&gateway).0, 502);
    assert_eq!(backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_shares_its_http2_connections() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, protocol: http2, keepalive: 1s, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    ));
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client");
    let burst = |requests: usize| {
        let (client, address) = (client.clone(), gateway.http());
        async move {
            let asked = (0..requests).map(|_| {
                let url = format!("http://{address}/sleep/300");
                let client = client.clone();
                tokio::spawn(async move { client.get(url).send().await })
            });
            for asked in asked.collect::<Vec<_>>() {
                let response = asked.await.expect("no panic").expect("an answer");
                assert_eq!(response.status(), 200);
            }
        }
    };
    burst(50).await;
    assert_eq!(backend.connections(), 1);
    // A connection carries a hundred.
    burst(101).await;
    assert_eq!(backend.connections(), 2);
    // What is idle for longer than `keepalive` is closed.
    tokio::time::sleep(std::time::Duration::from_millis(3000)).await;
    burst(1).await;
    assert_eq!(backend.connections(), 3);
}
