//! Certificates from Secrets, rotated live.

use std::sync::Arc;

use portcullis_tests::{Asked, Authority, Load};

use crate::edge::{Edge, edge, https, ingress, secret, web};

/// Whether a client that trusts an authority alone gets a handshake, some times in a row.
fn is_trusted(edge: &Edge, host: &'static str, authority: &Arc<Authority>) -> bool {
    let config = authority.client(&["http/1.1"]);
    edge.cluster.within("outside", move || async move {
        for _ in 0..6 {
            let Ok(stream) = tokio::net::TcpStream::connect(https()).await else {
                return false;
            };
            let name = rustls::pki_types::ServerName::try_from(host).expect("a name");
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
            if connector.connect(name, stream).await.is_err() {
                return false;
            }
        }
        true
    })
}

#[test]
fn a_certificate_is_rotated_with_no_handshake_failed() {
    let Some(edge) = edge() else { return };
    const HOST: &str = "rotated.test";
    let authority = Arc::new(Authority::new());
    let (certificate, key) = authority.sign(&[HOST]);
    edge.cluster.apply(&web("rotated", 1));
    edge.cluster
        .apply(&secret("rotated", "tls", &certificate, &key));
    edge.cluster
        .apply(&ingress("rotated", "web", "portcullis", HOST, Some("tls")));
    edge.cluster.rolled_out("rotated", "web");
    edge.cluster.wait("the certificate is served", || {
        is_trusted(&edge, HOST, &authority)
    });
    let asked = Asked {
        address: https(),
        tls: Some(Arc::clone(&authority)),
        ..edge.asked(HOST, 40)
    };
    let load = Load::begin(edge.cluster, "outside", asked);
    for _ in 0..5 {
        let (certificate, key) = authority.sign(&[HOST]);
        edge.cluster
            .apply(&secret("rotated", "tls", &certificate, &key));
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    // One that is broken keeps the last good one.
    edge.cluster
        .apply(&secret("rotated", "tls", "no certificate", &key));
    std::thread::sleep(std::time::Duration::from_secs(2));
    let (count, failures) = load.end();
    assert!(
        failures.is_empty(),
        "{} of {count}: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    edge.cluster.wait("the broken certificate is told", || {
        let events = edge.events("rotated");
        events.contains("secret:rotated/tls/tls.crt") && events.contains("last good version")
    });
}
