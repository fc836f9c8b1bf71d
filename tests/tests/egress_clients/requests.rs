//! Heads and their framing: what is a request to a proxy, and where it ends.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use portcullis_tests::{
    Authority, Backend, Raw, Recorder, Scripted,
    egress_site::{PUBLIC, Site, allow, client_hello, reason},
    raw, status_of, wait_for,
};

use super::public;

#[tokio::test(flavor = "multi_thread")]
async fn egr_11_a_request_for_an_origin_goes_nowhere() {
    let backend = Backend::start("one").await;
    let site = Site::start(
        &allow("[{host: good.test, ports: [80, 443]}]"),
        &[&format!("good.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:80"), backend.address)],
    );
    for (request, expected) in [
        (
            "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n",
            (400, "egress/not_a_proxy_request"),
        ),
        (
            "GET / HTTP/1.0\r\n\r\n",
            (400, "egress/not_a_proxy_request"),
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: good.test\r\n\r\n",
            (400, "egress/not_a_proxy_request"),
        ),
        (
            "TRACE / HTTP/1.1\r\nHost: good.test\r\n\r\n",
            (400, "egress/not_a_proxy_request"),
        ),
        (
            "TRACE http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
            (403, "egress/trace_refused"),
        ),
        (
            "track http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
            (403, "egress/trace_refused"),
        ),
    ] {
        let answer = raw(site.proxy(), request.as_bytes());
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            expected,
            "{request:?}: {answer}"
        );
    }
    let mut preface = Raw::connect(site.proxy());
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    preface.send(http2.as_bytes()).finish();
    assert!(preface.ends());
    // The plain port is spoken to in TLS, and in SOCKS: told at once, and not after a timeout.
    let hello = client_hello(&Authority::new(), "good.test");
    for bytes in [&hello[..], &hello[..6], b"\x05\x01\x00"] {
        let began = Instant::now();
        let mut client = Raw::connect(site.proxy());
        assert!(client.send(bytes).ends());
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_12_what_opens_a_tunnel_has_no_framing() {
    let recorder = Recorder::start().await;
    let site = Site::start(
        &allow("[{host: o.test, ports: [9443], raw: true}]"),
        &[&format!("o.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:9443"), recorder.address)],
    );
    let requests = [
        "CONNECT o.test:9443 HTTP/1.1\r\nHost: o.test:9443\r\n\r\n",
        "CONNECT o.test:9443 HTTP/1.0\r\n\r\n",
        "CONNECT o.test:9443 HTTP/1.1\r\nHost: o.test:9443\r\nConnection: close\r\nProxy-Connection: keep-alive\r\n\r\n",
        "CONNECT o.test:9443 HTTP/1.1\r\nHost: o.test:9443\r\nContent-Length: 0\r\n\r\n",
    ];
    for (request, opened) in requests.into_iter().zip(1..) {
        let mut client = Raw::connect(site.proxy());
        let answer = client.send(request.as_bytes()).response();
        // Of fields there is the id by which the audit record is found (RFC 9110 section 9.3.6
        // forbids Content-Length and Transfer-Encoding, and no others).
        let lines: Vec<&str> = answer.split("\r\n").collect();
        let [line, id, "", ""] = lines.as_slice() else {
            panic!("{request:?}: {answer:?}");
        };
        assert_eq!(*line, "HTTP/1.1 200 Connection Established", "{request:?}");
        assert!(id.starts_with("x-request-id: "), "{request:?}: {answer:?}");
        client.send(b"x");
        wait_for("the byte", || recorder.bytes() == opened);
    }
}

/// Four requests on one connection, as apt sends them before it has an answer.
fn pipelined(padding: usize) -> String {
    let request = |host: &str, path: &str| {
        let fields = format!("Host: {host}\r\nX-Padding: {}\r\n", "a".repeat(padding));
        format!("GET http://{host}/{path} HTTP/1.1\r\n{fields}\r\n")
    };
    let targets = [
        ("mirror.test", "a"),
        ("mirror.test", "b"),
        ("other.test", "c"),
        ("mirror.test", "d"),
    ];
    targets.map(|(host, path)| request(host, path)).concat()
}

/// Whether what a client still sends is taken: who has not read its answer yet may lose that by a
/// reset (RFC 9112 section 9.6).
fn may_go_on(client: Raw) -> bool {
    let mut stream = client.into_stream();
    let more = || {
        let sent = stream.write_all(b"x");
        std::thread::sleep(Duration::from_millis(50));
        sent.is_ok()
    };
    std::iter::repeat_with(more).take(3).all(|sent| sent)
}

/// The proxy answers the first and closes (RFC 9112 section 9.6): a connection is one request, and
/// what stands behind it is never answered wrongly nor sent on.
#[tokio::test(flavor = "multi_thread")]
async fn egr_20_pipelined_requests_get_the_first_answer_and_a_clean_end() {
    let backend = Backend::start("one").await;
    let site = Site::start(
        &allow("[mirror.test]"),
        &[&format!("mirror.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:80"), backend.address)],
    );
    // The last are more than what is read of a client at once.
    for (round, padding) in [0, 900, 16_000, 30_000].into_iter().enumerate() {
        let mut client = Raw::connect(site.proxy());
        client.send(pipelined(padding).as_bytes());
        // An answer that is still under way must not be lost by a reset.
        client.pause(Duration::from_millis(300));
        let answer = client.response();
        assert_eq!(status_of(&answer), 200, "{padding}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("one /a"), "{answer}");
        assert!(
            may_go_on(client),
            "{padding}: the connection is closed, and not reset"
        );
        assert_eq!(backend.requests(), round + 1, "{:?}", backend.last());
    }
    // So does a refusal end it, whose connection had a request behind.
    let mut client = Raw::connect(site.proxy());
    let refused = pipelined(30_000).replace("mirror.test", "other.test");
    client
        .send(refused.as_bytes())
        .pause(Duration::from_millis(300));
    let answer = client.response();
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/not_allowed")
    );
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(may_go_on(client), "closed, and not reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_21_fields_of_a_hop_stay_on_it() {
    let backend = Backend::start("one").await;
    let site = Site::start(
        &allow("[echo.test]"),
        &[&format!("echo.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:80"), backend.address)],
    );
    let request = "GET http://echo.test/ HTTP/1.1\r\nHost: echo.test\r\nProxy-Connection: keep-alive\r\n\
        Proxy-Authorization: Basic dTpw\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nKeep-Alive: timeout=9\r\nAccept: x/y\r\n\r\n";
    let answer = raw(site.proxy(), request.as_bytes());
    assert_eq!(status_of(&answer), 200, "{answer}");
    let seen = backend.last();
    let mut names: Vec<&str> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    // Nothing of the hop, and nothing that tells who the client is or what stands between.
    assert_eq!(names, ["accept", "host"], "{:?}", seen.headers);
    for lower in ["proxy-", "keep-alive:", "via:", "upgrade:"] {
        assert!(
            !answer.to_ascii_lowercase().contains(lower),
            "{lower}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_24_a_body_with_two_lengths_goes_nowhere() {
    let recorder = Recorder::start().await;
    let site = Site::start(
        &allow("[o.test]"),
        &[&format!("o.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:80"), recorder.address)],
    );
    let smuggled = "0\r\n\r\nGET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n";
    for framing in [
        "Content-Length: 50\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 50",
        "Content-Length: 50\r\nContent-Length: 5",
        "Content-Length: 50, 50",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \x0bchunked",
        "Content-Length: 0x32",
    ] {
        let request =
            format!("POST http://o.test/ HTTP/1.1\r\nHost: o.test\r\n{framing}\r\n\r\n{smuggled}");
        let mut client = Raw::connect(site.proxy());
        let answer = client.send(request.as_bytes()).read_all();
        assert_eq!(status_of(&answer), 400, "{framing:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{framing:?}: {answer}"
        );
    }
    assert_eq!((recorder.connections(), recorder.bytes()), (0, 0));
}

/// Bytes behind a body that ends are no request of anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn egr_24_what_stands_behind_a_body_reaches_no_origin() {
    let origin = Scripted::start(|mut line| async move {
        while !line.head().await.is_empty() {
            // The body is an empty chunked one.
            line.body(5).await;
            line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let site = Site::start(
        &allow("[o.test]"),
        &[&public(&["o.test"])[0]],
        &[(&format!("{PUBLIC}:80"), origin.address)],
    );
    let request = "POST http://o.test/ HTTP/1.1\r\nHost: o.test\r\nTransfer-Encoding: chunked\r\n\r\n\
        0\r\n\r\nGET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n";
    let answer = raw(site.proxy(), request.as_bytes());
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(
        (origin.connections(), origin.heads().len()),
        (1, 1),
        "{:?}",
        origin.heads()
    );
}
