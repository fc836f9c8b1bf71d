//! Who a client is by its certificate.

use std::{sync::Arc, time::Duration};

use portcullis_tests::{Authority, Echo, Gateway, TokenIssuer, replace, status_of, wait_for};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    site::reason,
    tls::{RAW, ask, ask_with, config, says, start},
};

/// A proxy that asks for certificates of an authority; the list of revoked ones is `clients.crl`.
fn asking(
    authority: &Authority,
    clients: &Authority,
    mode: &str,
    (more, policies): (&str, &str),
    echo: &Echo,
) -> Gateway {
    let files = tempfile::tempdir().expect("a temporary folder");
    let files = files.keep();
    replace(&files.join("clients.crt"), clients.pem());
    replace(&files.join("clients.crl"), clients.revoke(&[99], 2100));
    let listener = format!(
        "tls: {{defaultCertificate: proxy, clientCertificates: {}}}",
        json!({"mode": mode, "ca": files.join("clients.crt"), "crl": files.join("clients.crl")})
    );
    let yaml = config(&listener, more, policies);
    start(authority, &yaml, &[(22, echo.address)])
}

async fn shake(client: &Arc<ClientConfig>, gateway: &Gateway) -> Option<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(gateway.at("egress/proxy")).await;
    let name = "localhost".try_into().expect("a name");
    let connector = TlsConnector::from(Arc::clone(client));
    connector
        .connect(name, socket.expect("it listens"))
        .await
        .ok()
}

/// Whether a client is let in. With TLS 1.3 it learns of a refusal when it reads.
async fn is_let_in(client: &Arc<ClientConfig>, gateway: &Gateway) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let Some(mut stream) = shake(client, gateway).await else {
        return false;
    };
    let head = b"CONNECT no.example:22 HTTP/1.1\r\nHost: x\r\n\r\n";
    let _ = stream.write_all(head).await;
    let mut read = [0; 9];
    let told = tokio::time::timeout(Duration::from_secs(15), stream.read_exact(&mut read)).await;
    told.expect("it is told").is_ok() && &read == b"HTTP/1.1 "
}

fn last(gateway: &Gateway, count: usize) -> Value {
    wait_for("the audit line", || gateway.audit_lines().len() >= count);
    gateway.audit_lines().pop().expect("a line")
}

fn policies() -> String {
    [
        ("exact", "spiffeId: 'spiffe://example.org/ns/ci/sa/builder'"),
        ("below", "spiffeId: 'spiffe://example.org/ns/ci/*'"),
        ("named", "certificateName: builder"),
        (
            "elsewhere",
            "certificateName: other, addresses: [10.0.0.0/8]",
        ),
    ]
    .map(|(name, subject)| {
        format!("  - {{name: {name}, subjects: [{{{subject}}}], allow: {RAW}}}\n")
    })
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_select_a_client_by_its_spiffe_id_or_its_common_name() {
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let echo = Echo::start("").await;
    let policies = policies();
    let gateway = asking(&authority, &clients, "optional", ("", &policies), &echo);
    let builder = "spiffe://example.org/ns/ci/sa/builder";
    let other = "spiffe://example.org/ns/ci/sa/other";
    for (count, (uris, name, policy, told)) in [
        (
            &[builder][..],
            Some("x"),
            Some("exact"),
            json!({"spiffe": builder}),
        ),
        (
            &["spiffe://Example.ORG/ns/ci/sa/builder"],
            None,
            Some("exact"),
            json!({"spiffe": builder}),
        ),
        (&[other], None, Some("below"), json!({"spiffe": other})),
        // Its common name is nobody's.
        (
            &["spiffe://example.org/ns/shop/sa/builder"],
            Some("builder"),
            None,
            json!({"spiffe": "spiffe://example.org/ns/shop/sa/builder"}),
        ),
        (
            &[],
            Some("builder"),
            Some("named"),
            json!({"commonName": "builder"}),
        ),
        (
            &["https://example.org/ns/ci/sa/builder"],
            Some("builder"),
            Some("named"),
            json!({"commonName": "builder"}),
        ),
        (&[], Some("other"), None, json!({"commonName": "other"})),
        (&["https://example.org/"], None, None, Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let client = authority.client_of_workload(&clients, uris, name, 7);
        let mut stream = shake(&client, &gateway).await.expect("a handshake");
        let answer = ask(&mut stream, "raw.example:22").await;
        match policy {
            Some(_) => {
                assert_eq!(status_of(&answer), 200, "{uris:?} {name:?}: {answer}");
                says(&mut stream, b"hello").await;
            }
            None => assert_eq!(reason(&answer), "egress/no_policy", "{uris:?} {name:?}"),
        }
        drop(stream);
        let line = last(&gateway, count + 1);
        assert_eq!(line["policy"].as_str(), policy, "{line}");
        assert_eq!(line["certificate"], told, "{line}");
    }
    // Without one a client is nobody.
    let mut stream = shake(&authority.client(&[]), &gateway)
        .await
        .expect("one may");
    let answer = ask(&mut stream, "raw.example:22").await;
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/no_policy")
    );
    // Who is two is not let in, nor is who nobody vouches for, or is revoked.
    let stranger = Authority::named("clients");
    for (what, client) in [
        (
            "two ids",
            authority.client_of_workload(&clients, &[builder, other], None, 7),
        ),
        (
            "an id that is none",
            authority.client_of_workload(
                &clients,
                &["spiffe://example.org/ns//ci"],
                Some("builder"),
                7,
            ),
        ),
        (
            "another authority",
            authority.client_of_workload(&stranger, &[builder], None, 7),
        ),
        (
            "a revoked one",
            authority.client_of_workload(&clients, &[builder], None, 99),
        ),
    ] {
        assert!(!is_let_in(&client, &gateway).await, "{what}");
    }
    let refused =
        "portcullis_connections_total{listener=\"egress\",outcome=\"client_certificate_refused\"}";
    wait_for("the metric", || gateway.metric(refused) == Some(4.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_revoked_ends_what_it_has_opened() {
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let echo = Echo::start("").await;
    let policies = policies();
    let gateway = asking(&authority, &clients, "required", ("", &policies), &echo);
    let yaml = std::fs::read_to_string(gateway.folder().join("portcullis.yaml"));
    let yaml = yaml.expect("it is there");
    let list = yaml.split('"').find(|part| part.ends_with("clients.crl"));
    let list = std::path::PathBuf::from(list.expect("it is named"));
    let id = &["spiffe://example.org/ns/ci/sa/builder"];
    let gone = authority.client_of_workload(&clients, id, None, 7);
    let stays = authority.client_of_workload(&clients, id, None, 8);
    let mut tunnels = Vec::new();
    let mut waiting = Vec::new();
    for client in [&gone, &stays] {
        let mut tunnel = shake(client, &gateway).await.expect("a handshake");
        let answer = ask(&mut tunnel, "raw.example:22").await;
        assert_eq!(status_of(&answer), 200, "{answer}");
        tunnels.push(tunnel);
        let mut idle = shake(client, &gateway).await.expect("a handshake");
        let answer = ask(&mut idle, "no.example:22").await;
        assert_eq!(reason(&answer), "egress/not_allowed");
        waiting.push(idle);
    }
    assert!(
        !is_let_in(&authority.client(&[]), &gateway).await,
        "none shown"
    );
    replace(&list, clients.revoke(&[7, 99], 2100));
    wait_for("the cut", || {
        let lines = gateway.audit_lines();
        lines.iter().any(|line| line["ended"] == "policy_changed")
    });
    says(&mut tunnels[1], b"still here").await;
    let answer = ask(&mut waiting[0], "raw.example:22").await;
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/certificate_untrusted"),
        "{answer}"
    );
    let answer = ask(&mut waiting[1], "raw.example:22").await;
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert!(!is_let_in(&gone, &gateway).await);
    assert!(is_let_in(&stays, &gateway).await);
    let cut: Vec<_> = gateway.audit_lines();
    let cut = cut.iter().filter(|line| line["ended"] == "policy_changed");
    assert_eq!(cut.count(), 1, "the other one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_a_token_and_both_may_be_asked_for() {
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let echo = Echo::start("").await;
    let issuer = TokenIssuer::new("one");
    let keys = tempfile::tempdir().expect("a temporary folder");
    replace(
        &keys.path().join("jwks.json"),
        TokenIssuer::jwks(&[&issuer]),
    );
    let identity = json!({
        "serviceAccountTokens": {
            "jwks": keys.path().join("jwks.json"),
            "issuer": TokenIssuer::ISSUER,
            "audience": "portcullis",
        }
    });
    let both = format!(
        "  - {{name: both, subjects: [{{namespace: ci, certificateName: builder}}], allow: {RAW}}}\n"
    );
    let policies = both + &policies();
    let more = format!("identity: {identity}");
    let gateway = asking(&authority, &clients, "optional", (&more, &policies), &echo);
    let token = issuer.sign(&TokenIssuer::claims("portcullis", ("ci", "builder"), 600));
    let certified = authority.client_of_workload(&clients, &[], Some("builder"), 7);
    let bare = authority.client(&[]);
    for (count, (client, token, told, policy)) in [
        (&bare, None, "egress/token_missing", None),
        (&bare, Some(&*token), "egress/no_policy", None),
        (&certified, None, "", Some("named")),
        (&certified, Some(&*token), "", Some("both")),
        // A token that is shown must be good all the same.
        (&certified, Some("a.b.c"), "egress/bad_token", None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = shake(client, &gateway).await.expect("a handshake");
        let shown = |token| format!("Proxy-Authorization: Bearer {token}\r\n");
        let lines = token.map(shown).unwrap_or_default();
        let answer = ask_with(&mut stream, "raw.example:22", &lines).await;
        assert_eq!(reason(&answer), told, "{answer}");
        drop(stream);
        let line = last(&gateway, count + 1);
        assert_eq!(line["policy"].as_str(), policy, "{line}");
    }
}
