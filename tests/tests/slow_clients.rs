//! Clients that send slowly: those that cannot help it, and those that mean it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::StreamBody;
use hyper::body::Frame;
use portcullis_tests::{Backend, Gateway, Raw, Scripted, h2c, status_of};

fn config(backend: SocketAddr, protocol: &str, policies: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles: [{{name: baseline}}]
backends: [{{name: one, protocol: {protocol}, endpoints: [{{address: {backend}}}]}}]
routes: [{{name: any, policies: {{maxBodySize: 0, {policies}}}, rules: [{{backends: [{{name: one}}]}}]}}]
"
    )
}

const PACE: &str = "minBodyRate: {rate: 100B, grace: 1s}";

/// Sends a body of `parts` in parts of so many bytes, each after a rest.
fn post(gateway: SocketAddr, chunked: bool, parts: usize, bytes: usize, rest: Duration) -> String {
    let framing = match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", parts * bytes),
    };
    let mut client = Raw::connect(gateway);
    client.send(
        format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\n{framing}\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    let part = "x".repeat(bytes);
    let part = match chunked {
        true => format!("{bytes:x}\r\n{part}\r\n"),
        false => part,
    };
    for _ in 0..parts {
        client.pause(rest).send(part.as_bytes());
    }
    if chunked {
        client.send(b"0\r\n\r\n");
    }
    client.read_all()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_is_ended_and_one_that_keeps_up_or_pauses_is_not() {
    let backend = Backend::start("one").await;
    for waf in ["", "waf: {profile: baseline}, "] {
        let gateway = Gateway::start(&config(backend.address, "http1", &format!("{waf}{PACE}")));
        for chunked in [false, true] {
            let begun = Instant::now();
            let answer = post(gateway.http(), chunked, 60, 1, Duration::from_millis(50));
            assert_eq!(status_of(&answer), 408, "{waf} {chunked}: {answer}");
            assert!(answer.contains("body/client-too-slow"), "{answer}");
            assert!(begun.elapsed() >= Duration::from_secs(1));
            // A third of the grace in each rest, and ten times the rate.
            let answer = post(gateway.http(), chunked, 8, 400, Duration::from_millis(300));
            assert_eq!(status_of(&answer), 200, "{waf} {chunked}: {answer}");
        }
        assert_eq!(backend.last().body_len, 3200);
    }
    let lifted = config(
        backend.address,
        "http1",
        "minBodyRate: {rate: 0, grace: 1s}",
    );
    let gateway = Gateway::start(&lifted);
    let answer = post(gateway.http(), false, 30, 1, Duration::from_millis(60));
    assert_eq!(status_of(&answer), 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_paced_as_well_and_grpc_calls_are_not() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(backend.address, "http2", PACE));
    for (content_type, status) in [("text/plain", 408), ("application/grpc", 200)] {
        let parts = futures_util::stream::unfold(0, |n| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            (n < 25).then(|| (Ok(Frame::data(Bytes::from_static(b"x"))), n + 1))
        });
        let mut client = h2c(gateway.http()).await;
        let request = Request::post(client.uri("a.example", "/"))
            .header("content-type", content_type)
            .body(StreamBody::new(parts))
            .expect("a request");
        let answer = client.send(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_takes_nothing_is_not_the_clients_fault() {
    const LENGTH: usize = 32 << 20;
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(line.body(LENGTH).await.len(), LENGTH);
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
    })
    .await;
    let gateway = Gateway::start(&config(backend.address, "http1", PACE));
    let address = gateway.http();
    let sent = tokio::task::spawn_blocking(move || post(address, false, 1, LENGTH, Duration::ZERO));
    let answer = sent.await.expect("no panic");
    assert_eq!(status_of(&answer), 200, "{answer}");
}
