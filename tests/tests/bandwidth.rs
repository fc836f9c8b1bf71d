//! How fast a response is sent.

use std::time::{Duration, Instant};

use portcullis_tests::{Backend, Gateway, Raw, Scripted, h2c, raw, status_of};

const LENGTH: usize = 30_000;

fn config(backends: &str, bandwidth: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{backends}]
defaults: {{responseBandwidth: {bandwidth}}}
routes:
- name: any
  rules:
  - {{matches: [{{path: {{prefix: /fast}}}}], policies: {{responseBandwidth: {{rate: 0}}}}, backends: [{{name: big}}]}}
  - {{matches: [{{path: {{prefix: /small}}}}], backends: [{{name: small}}]}}
  - {{backends: [{{name: big}}]}}
"
    )
}

/// Backends with a body of many bytes, in both framings, and one that says little.
async fn backends() -> (Scripted, Backend, String) {
    let big = Scripted::start(|mut line| async move {
        loop {
            let head = line.head().await;
            if head.is_empty() {
                return;
            }
            let body = "x".repeat(LENGTH);
            let answer = match head.contains("/chunked") {
                true => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LENGTH:x}\r\n{body}\r\n0\r\n\r\n"),
                false => format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n{body}"),
            };
            line.send(answer.as_bytes()).await;
        }
    })
    .await;
    let small = Backend::start("small").await;
    let yaml = format!(
        "{{name: big, endpoints: [{{address: {}}}]}}, {{name: small, endpoints: [{{address: {}}}]}}",
        big.address, small.address
    );
    (big, small, yaml)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_takes_the_time_of_its_bandwidth_and_no_other_waits_for_it() {
    let (_big, _small, yaml) = backends().await;
    // Two seconds for what is behind the first third, less the last tenth of one.
    let gateway = Gateway::start(&config(&yaml, "{rate: 10kB, after: 10kB}"));
    for path in ["/", "/chunked"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let begun = Instant::now();
        let answer = raw(gateway.http(), request.as_bytes());
        let took = begun.elapsed();
        assert_eq!(answer.matches('x').count() / LENGTH, 1, "{path}");
        assert!(took >= Duration::from_millis(1800), "{path}: {took:?}");

        let mut client = h2c(gateway.http()).await;
        let begun = Instant::now();
        let answer = client.get("a.example", path).await.expect("an answer");
        let took = begun.elapsed();
        assert_eq!(answer.body().len(), LENGTH, "{path}");
        assert!(took >= Duration::from_millis(1800), "{path}: {took:?}");
    }
    let mut slow = Raw::connect(gateway.http());
    slow.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let begun = Instant::now();
    for path in ["/fast", "/small", "/fast/chunked", "/small/sse"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        assert_eq!(
            status_of(&raw(gateway.http(), request.as_bytes())),
            200,
            "{path}"
        );
    }
    let others = begun.elapsed();
    // The connection is as good as any after it.
    let answer = slow.response();
    assert!(answer.ends_with(&"x".repeat(LENGTH)));
    assert!(others < begun.elapsed(), "{others:?}");
    slow.send(b"GET /small HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status_of(&slow.response()), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_ends_its_response_and_upgrades_are_not_slowed() {
    let (_big, small, yaml) = backends().await;
    let gateway = Gateway::start(&config(&yaml, "{rate: 100B}"));
    let mut gone = Raw::connect(gateway.http());
    gone.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        .pause(Duration::from_millis(200));
    drop(gone);
    portcullis_tests::wait_for("the end of the request", || {
        gateway.metric("portcullis_requests_in_flight") == Some(0.0)
    });
    let mut socket = Raw::connect(gateway.http());
    let begun = Instant::now();
    let head = socket
        .send(b"GET /small/ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .response();
    assert_eq!(status_of(&head), 101, "{head}");
    // A masked frame of 2000 bytes, which comes back: 20 s at that rate.
    let mut frame = vec![0x82, 0x80 | 126, 0x07, 0xd0, 0, 0, 0, 0];
    frame.extend([b'y'; 2000]);
    let mut back = Vec::new();
    socket.send(&frame);
    while back.len() < 2004 {
        let part = socket.some();
        assert!(!part.is_empty(), "{} bytes came back", back.len());
        back.extend(part);
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(small);
}
