//! The matrix: every size over every way and framing to backends of both versions,
//! once clean, once denied, and once past an endpoint that fails.
//!
//! ```text
//! sizes      0, 7, 64 KiB and around it, 1 MiB, 3 MiB
//! ways       HTTP/1.1 and HTTP/2, each in clear and over TLS
//! framings   with a length, and without
//! backends   HTTP/1.1, HTTP/2
//! ```

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use portcullis_tests::{Backend, Nobody, Recorder, sha256};

use crate::site::{Cell, HELD, HELD_OR_STREAMED, KIB_64, Site, one, text};

const SIZES: [usize; 7] = [0, 7, KIB_64 - 1, KIB_64, KIB_64 + 1, 1 << 20, 3 << 20];
const PROTOCOLS: [&str; 2] = ["http1", "http2"];

/// Each body, with what it is to be at the backend.
fn bodies(sizes: &[usize]) -> Vec<(Cell, Bytes, String)> {
    Cell::all(sizes)
        .into_iter()
        .map(|cell| {
            let bytes = text(cell.len);
            let hash = sha256(&bytes);
            (cell, bytes, hash)
        })
        .collect()
}

async fn every_body_arrives(policies: &str, protocol: &str, sizes: &[usize]) {
    let backend = Backend::start("one").await;
    let site = Site::start(&one(backend.address, protocol), policies);
    let mut open = None;
    for (sent, (cell, bytes, hash)) in bodies(sizes).into_iter().enumerate() {
        let what = format!("{policies} {protocol} {cell:?}");
        // All bodies of one way go over one connection.
        if open.as_ref().is_none_or(|(way, _)| *way != cell.way) {
            open = Some((cell.way, site.client(cell.way).await));
        }
        let Some((_, client)) = &mut open else {
            unreachable!("there is one by now")
        };
        let status = site.send(Method::POST, cell, client, &bytes).await;
        assert_eq!(status, 200, "{what}");
        assert_eq!(backend.requests(), sent + 1, "{what}");
        let seen = backend.last();
        assert_eq!(
            (seen.body_len, seen.body_sha256),
            (cell.len, hash),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_arrives_whole() {
    for policies in HELD_OR_STREAMED {
        for protocol in PROTOCOLS {
            every_body_arrives(policies, protocol, &SIZES).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_baseline_passes_arrives_whole() {
    for protocol in PROTOCOLS {
        let policies = "{waf: {profile: baseline}}";
        every_body_arrives(policies, protocol, &[7, KIB_64 + 1]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_inspection_limit_arrives_whole_where_the_profile_lets_it() {
    for profile in ["prefix", "skip"] {
        let policies = format!("{{waf: {{profile: {profile}}}}}");
        for protocol in PROTOCOLS {
            every_body_arrives(&policies, protocol, &[100_000, 100_001, 1 << 20]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_body_leaves_the_backend_untouched() {
    for protocol in PROTOCOLS {
        let recorder = Recorder::start().await;
        let site = Site::start(&one(recorder.address, protocol), HELD);
        for cell in Cell::all(&SIZES[1..]) {
            // The attack is at the end: all that comes before has been read by then.
            let mut bytes = text(cell.len - 4).to_vec();
            bytes.extend_from_slice(b"evil");
            assert_eq!(bytes.len(), cell.len);
            let status = site.post(cell, &bytes.into()).await;
            assert_eq!(status, 403, "{protocol} {cell:?}");
        }
        assert_eq!((recorder.connections(), recorder.bytes()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_at_the_end_of_a_long_body_is_found_by_the_baseline() {
    let recorder = Recorder::start().await;
    let policies = "{waf: {profile: baseline}}";
    let site = Site::start(&one(recorder.address, "http1"), policies);
    for cell in Cell::all(&[KIB_64 + 1]) {
        let mut bytes = text(cell.len - 40).to_vec();
        bytes.extend_from_slice(b"&q=1'+UNION+SELECT+password+FROM+users--");
        assert_eq!(site.post(cell, &bytes.into()).await, 403, "{cell:?}");
    }
    assert_eq!((recorder.connections(), recorder.bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_body_survives_an_endpoint_that_is_down() {
    let nobody = Nobody::here();
    let gone = nobody.address;
    for protocol in PROTOCOLS {
        let good = Backend::start("one").await;
        let backends = format!(
            "- {{name: one, protocol: {protocol}, ejection: {{failures: 0}}, endpoints: [{{address: {gone}}}, {{address: {}}}]}}",
            good.address
        );
        let site = Site::start(&backends, HELD);
        let bodies = bodies(&SIZES);
        for (cell, bytes, hash) in &bodies {
            let what = format!("{protocol} {cell:?}");
            // One of the two meets the endpoint that is down first.
            for _ in 0..2 {
                let before = good.requests();
                assert_eq!(site.post(*cell, bytes).await, 200, "{what}");
                assert_eq!(good.requests(), before + 1, "{what}");
                assert_eq!(&good.last().body_sha256, hash, "{what}");
            }
        }
        let failed =
            r#"portcullis_upstream_requests_total{backend="one",outcome="connect_failed"}"#;
        let met = site.gateway.metric(failed).unwrap_or_default() as usize;
        assert!(met >= bodies.len(), "{protocol}: {met} of {}", bodies.len());
    }
}

/// The backend of the route, whose connections are kept for longer than a test takes.
fn kept(address: SocketAddr, protocol: &str) -> String {
    format!(
        "- {{name: one, protocol: {protocol}, keepalive: 60s, endpoints: [{{address: {address}}}]}}"
    )
}

/// Sends each body with PUT, to an endpoint that closes each connection under its second
/// request: nearly each but the first meets a kept connection that is closed under it.
async fn every_body_outlives_its_connection(policies: &str, sizes: &[usize]) {
    for protocol in PROTOCOLS {
        let brittle = Backend::start_brittle("one").await;
        let site = Site::start(&kept(brittle.address, protocol), policies);
        let bodies = bodies(sizes);
        for (sent, (cell, bytes, hash)) in bodies.iter().enumerate() {
            let what = format!("{policies} {protocol} {cell:?}");
            let mut client = site.client(cell.way).await;
            let status = site.send(Method::PUT, *cell, &mut client, bytes).await;
            assert_eq!(status, 200, "{what}");
            assert_eq!(brittle.requests(), sent + 1, "{what}");
            assert_eq!(&brittle.last().body_sha256, hash, "{what}");
            assert_eq!(brittle.connections(), sent + 1, "{what}");
        }
        // One whose client is quicker than the pool gets a connection of its own.
        let (cut, met) = (brittle.cut(), bodies.len() - 1);
        assert!(
            cut <= met && cut >= met - met / 4,
            "{policies} {protocol}: {cut} of {met}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_body_is_sent_again_when_its_kept_connection_closes() {
    every_body_outlives_its_connection(HELD, &SIZES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_body_of_64_kib_is_sent_again_when_its_kept_connection_closes() {
    every_body_outlives_its_connection("{}", &[0, 7, KIB_64]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_body_that_is_too_long_to_keep_is_never_sent_again_in_part() {
    for protocol in PROTOCOLS {
        let brittle = Backend::start_brittle("one").await;
        let site = Site::start(&kept(brittle.address, protocol), "{}");
        let (mut answered, mut lost) = (0, 0);
        for (cell, bytes, hash) in bodies(&[1 << 20]) {
            for _ in 0..4 {
                let what = format!("{protocol} {cell:?}");
                let mut client = site.client(cell.way).await;
                match site.send(Method::PUT, cell, &mut client, &bytes).await {
                    200 => answered += 1,
                    502 => lost += 1,
                    status => panic!("{what}: {status}"),
                }
                assert_eq!(brittle.requests(), answered, "{what}");
                assert_eq!(brittle.last().body_sha256, hash, "{what}");
            }
        }
        // Where a body was cut whole, nobody had all of it any more.
        assert!(lost > 0 && lost <= brittle.cut(), "{lost}, {answered}");
    }
}
