//! Copies of requests: the same as what the backend got, and never in its way.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use portcullis_tests::{Backend, Client, Gateway, Nobody, Raw, Recorder, Seen, h2c, wait_for};

struct Site<'a> {
    one: SocketAddr,
    shadow: SocketAddr,
    /// Protocol of the mirror's backend.
    protocol: &'a str,
    /// Of the mirror.
    mirror: &'a str,
    /// Of the rule.
    rule: &'a str,
    /// Sections.
    more: &'a str,
}

impl Site<'_> {
    fn start(&self) -> Gateway {
        let Self {
            one,
            shadow,
            protocol,
            mirror,
            rule,
            more,
        } = self;
        Gateway::start(&format!(
            r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends:
- {{name: one, endpoints: [{{address: {one}}}]}}
- {{name: shadow, protocol: {protocol}, endpoints: [{{address: {shadow}}}]}}
{more}
routes:
- name: any
  rules: [{{backends: [{{name: one}}], mirrors: [{{backend: shadow{mirror}}}]{rule}}}]
"#
        ))
    }
}

fn mirrored(gateway: &Gateway, outcome: &str) -> f64 {
    let series =
        format!(r#"portcullis_mirrored_requests_total{{backend="shadow",outcome="{outcome}"}}"#);
    gateway.metric(&series).unwrap_or(0.0)
}

async fn post(client: &mut Client, path: &str, body: &'static [u8]) -> Response<Bytes> {
    let mut request = Request::post(client.uri("a.example", path));
    if matches!(client, Client::H1(_)) {
        request = request.header("host", "a.example");
    }
    let request = request.body(Full::from(body)).expect("a request");
    client.send(request).await.expect("an answer")
}

/// What must be the same for both, whatever the protocol.
fn essence(seen: &Seen) -> (String, String, String, Vec<(String, String)>) {
    let mut fields: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| {
            !["transfer-encoding", "content-length", "host"].contains(&name.as_str())
        })
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    fields.sort();
    (
        seen.method.clone(),
        seen.target.clone(),
        seen.body_sha256.clone(),
        fields,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_what_the_backend_gets() {
    let waf = "wafProfiles: [{name: strict}]\ndefaults: {waf: {profile: strict}}";
    for (protocol, more) in [("http1", ""), ("http2", ""), ("http1", waf)] {
        let (one, shadow) = (Backend::start("one").await, Backend::start("shadow").await);
        let gateway = Site {
            one: one.address,
            shadow: shadow.address,
            protocol,
            mirror: "",
            rule: ", matches: [{path: {prefix: /a}}], rewrite: {prefix: /b, host: inner.example}, requestHeaders: {remove: [X-Gone], set: {X-Set: '1'}}",
            more,
        }
        .start();
        for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
            for kind in ["none", "length", "chunked", "empty"] {
                let mut request = Request::builder()
                    .method(if kind == "none" { "GET" } else { "PUT" })
                    .uri(client.uri("a.example", "/a/%7Ex?q=1"))
                    .header("x-gone", "1")
                    .header("x-kept", "2")
                    .header("cookie", "c=1");
                if matches!(client, Client::H1(_)) {
                    request = request.header("host", "a.example");
                }
                let body = match kind {
                    "none" => Full::default().boxed_unsync(),
                    "length" => Full::from(&b"field=a+body"[..]).boxed_unsync(),
                    "empty" => {
                        request = request.header("content-length", "0");
                        Full::default().boxed_unsync()
                    }
                    _ => {
                        let parts = [&b"field="[..], b"several", b"+parts"];
                        let parts = parts.map(|part| Ok(Frame::data(Bytes::from_static(part))));
                        StreamBody::new(futures_util::stream::iter(parts)).boxed_unsync()
                    }
                };
                let (before, copies) = (one.requests(), shadow.requests());
                let request = request.body(body).expect("a request");
                let response = client.send(request).await.expect("an answer");
                assert_eq!(response.body(), "one /b/%7Ex?q=1", "{kind}");
                wait_for("the copy", || shadow.requests() > copies);
                assert_eq!(
                    (one.requests(), shadow.requests()),
                    (before + 1, copies + 1)
                );
                let (sent, copied) = (one.last(), shadow.last());
                assert_eq!(essence(&sent), essence(&copied), "{protocol} {kind}");
                assert_eq!(copied.header("x-set"), "1");
                assert!(copied.header("x-request-id").len() > 10);
                if protocol == "http1" {
                    assert_eq!(copied.header("host"), "inner.example");
                }
            }
        }
        wait_for("the answers", || mirrored(&gateway, "answered") == 8.0);
        // Its answers leave the connections for the next copies.
        assert!(shadow.connections() <= 2, "{}", shadow.connections());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_dead_or_silent_is_not_noticed() {
    let one = Backend::start("one").await;
    let silent = Recorder::start().await;
    let gone = Nobody::here();
    let dead = gone.address;
    for (shadow, more) in [(dead, ""), (silent.address, "process: {maxMirrored: 2}")] {
        let gateway = Site {
            one: one.address,
            shadow,
            protocol: "http1",
            mirror: "",
            rule: "",
            more,
        }
        .start();
        let mut client = Client::h1(gateway.http()).await;
        let began = Instant::now();
        for _ in 0..5 {
            let response = post(&mut client, "/", b"a body").await;
            assert_eq!(response.body(), "one /");
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        if shadow == dead {
            wait_for("the failures", || {
                mirrored(&gateway, "connect_failed") == 5.0
            });
        } else {
            // Two are on their way, and there is no room for more.
            assert_eq!(mirrored(&gateway, "over_limit"), 3.0);
            wait_for("the copies", || silent.connections() == 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_refused_cut_or_upgraded_is_not_copied() {
    let (one, shadow) = (Backend::start("one").await, Backend::start("shadow").await);
    let gateway = Site {
        one: one.address,
        shadow: shadow.address,
        protocol: "http1",
        mirror: ", maxBodySize: 8B",
        rule: ", policies: {maxBodySize: 100B, waf: {profile: strict}}",
        more: r#"wafProfiles: [{name: strict, rules: [{inline: "SecRequestBodyAccess Off\nSecRule REQUEST_URI \"@contains bad\" \"id:1,phase:1,deny\"\n"}]}]"#,
    }
    .start();
    let address = gateway.http();
    let mut client = Client::h1(address).await;
    assert_eq!(post(&mut client, "/", b"12345678").await.status(), 200);
    wait_for("the copy", || shadow.requests() == 1);
    assert_eq!(post(&mut client, "/", b"123456789").await.status(), 200);
    assert_eq!(mirrored(&gateway, "too_large"), 1.0);
    let chunked = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut raw = Raw::connect(address);
    raw.send(format!("{chunked}8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n").as_bytes());
    assert!(raw.response().starts_with("HTTP/1.1 200"));
    assert_eq!(mirrored(&gateway, "too_large"), 2.0);
    // Over the limit of the route, and by its rules.
    let mut raw = Raw::connect(address);
    raw.send(format!("{chunked}1\r\na\r\n80\r\n{}\r\n0\r\n\r\n", "x".repeat(128)).as_bytes());
    assert!(raw.response().starts_with("HTTP/1.1 413"));
    let refused = Client::h1(address).await.get("a.example", "/bad").await;
    assert_eq!(refused.expect("an answer").status(), 403);
    // A client that breaks off.
    let before = 1.0;
    assert_eq!(mirrored(&gateway, "incomplete"), before);
    let mut raw = Raw::connect(address);
    raw.send(format!("{chunked}6\r\n123456\r\n").as_bytes());
    wait_for("the connection", || {
        gateway.metric("portcullis_requests_in_flight") == Some(1.0)
    });
    drop(raw);
    wait_for("the end", || {
        mirrored(&gateway, "incomplete") == before + 1.0
    });
    // An upgrade has no end.
    let mut raw = Raw::connect(address);
    raw.send(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    assert!(raw.response().starts_with("HTTP/1.1 101"));
    let mut h2 = h2c(address).await;
    let request = Request::post("https://a.example/")
        .header("content-type", "application/grpc")
        .body(Full::default());
    h2.send(request.expect("a request"))
        .await
        .expect("an answer");
    // Nothing of all that has come by now, and what comes last is the only other copy.
    let last = client.get("a.example", "/last").await;
    assert_eq!(last.expect("an answer").status(), 200);
    wait_for("the last copy", || shadow.requests() == 2);
    assert_eq!(shadow.last().target, "/last");
    assert_eq!(mirrored(&gateway, "too_large"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_leave_half_of_the_memory_for_bodies_to_requests() {
    let (one, shadow) = (Backend::start("one").await, Backend::start("shadow").await);
    let gateway = Site {
        one: one.address,
        shadow: shadow.address,
        protocol: "http1",
        mirror: "",
        rule: "",
        more: "process: {maxBufferedBytes: 16KiB}",
    }
    .start();
    let mut client = Client::h1(gateway.http()).await;
    static BODY: [u8; 9 << 10] = [b'x'; 9 << 10];
    assert_eq!(post(&mut client, "/", &BODY).await.status(), 200);
    assert_eq!(mirrored(&gateway, "buffers_spent"), 1.0);
    assert_eq!(post(&mut client, "/", &BODY[..8 << 10]).await.status(), 200);
    wait_for("the copy", || shadow.requests() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_the_body_waits_for_none_of_it() {
    let waf = "wafProfiles: [{name: strict}]\ndefaults: {waf: {profile: strict}}";
    for (protocol, more) in [("http1", ""), ("http2", ""), ("http1", waf)] {
        let (one, shadow) = (Backend::start("one").await, Backend::start("shadow").await);
        let gateway = Site {
            one: one.address,
            shadow: shadow.address,
            protocol,
            mirror: ", requestBody: off",
            rule: "",
            more,
        }
        .start();
        for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
            let before = shadow.requests();
            // More than the 64 KiB that a copy with its body may have.
            post(&mut client, "/a?b=1", &[b'x'; 100 << 10]).await;
            wait_for("the copy", || shadow.requests() == before + 1);
            let (original, copy) = (one.last(), shadow.last());
            assert_eq!((original.body_len, copy.body_len), (100 << 10, 0));
            assert_eq!((&*copy.method, &*copy.target), ("POST", "/a?b=1"));
            let (mut expected, mut found) = (essence(&original), essence(&copy));
            (expected.2, found.2) = (String::new(), String::new());
            assert_eq!(found, expected, "{protocol}");
            assert!(matches!(copy.header("content-length"), "" | "0"));
            assert!(!copy.headers.contains_key("transfer-encoding"));
        }
        // A body that never comes keeps no copy back, and its end is not awaited by it.
        if more.is_empty() {
            let before = shadow.requests();
            let mut raw = Raw::connect(gateway.http());
            raw.send(b"POST /cut HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhalf");
            wait_for("the copy", || shadow.requests() == before + 1);
            assert_eq!(shadow.last().target, "/cut");
        }
        wait_for("their answers", || {
            mirrored(&gateway, "answered") == shadow.requests() as f64
        });
        assert_eq!(mirrored(&gateway, "too_large"), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_requests_is_copied() {
    let (one, shadow) = (Backend::start("one").await, Backend::start("shadow").await);
    for (percent, expected) in [(25, 200..=300), (0, 0..=0)] {
        let before = shadow.requests();
        let gateway = Site {
            one: one.address,
            shadow: shadow.address,
            protocol: "http2",
            mirror: &format!(", percent: {percent}"),
            rule: "",
            more: "process: {maxMirrored: 1000}",
        }
        .start();
        let mut client = h2c(gateway.http()).await;
        for _ in 0..1000 {
            client.get("a.example", "/").await.expect("an answer");
        }
        let sent = || mirrored(&gateway, "answered") as usize;
        // Four deviations are 55.
        wait_for("the copies", || {
            expected.contains(&sent()) && shadow.requests() - before == sent()
        });
    }
}
