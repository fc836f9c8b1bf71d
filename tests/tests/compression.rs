//! Compressed responses: which, how, and that none waits in the gateway.

use std::{
    collections::HashMap,
    io::Read,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use portcullis_tests::{Client, Gateway, Raw, Scripted, h2c, raw, wait_for};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

const PAGE: &str = "<p>one page that says the same thing again and again</p>\n";

fn page() -> String {
    PAGE.repeat(4_000)
}

fn gateway(backend: SocketAddr, policy: &str, more: &str) -> Gateway {
    Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {backend}}}]}}]
defaults: {{compression: {policy}}}
{more}
routes:
- name: any
  rules:
  - {{backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /off}}}}], backends: [{{name: one}}], policies: {{compression: {{}}}}}}
"
    ))
}

/// A backend that answers each path with the fields given for it and the page.
async fn backend(fields: &'static [(&'static str, &'static str)]) -> Scripted {
    let fields: Arc<HashMap<_, _>> = Arc::new(fields.iter().copied().collect());
    Scripted::start(move |mut line| {
        let fields = Arc::clone(&fields);
        async move {
            loop {
                let head = line.head().await;
                let Some(path) = head.split(' ').nth(1) else {
                    return;
                };
                let (status, fields) = fields
                    .get(path)
                    .and_then(|fields| fields.split_once('\n'))
                    .unwrap_or(("200", "Content-Type: text/html"));
                let fields = fields.replace('\n', "\r\n");
                let body = match (head.starts_with("HEAD"), status) {
                    (true, _) | (_, "204" | "304") => String::new(),
                    _ => page(),
                };
                let length = match status {
                    "204" | "304" => String::new(),
                    _ => format!("Content-Length: {}\r\n", page().len()),
                };
                let answer = format!("HTTP/1.1 {status} Fine\r\n{fields}\r\n{length}\r\n{body}");
                line.send(answer.as_bytes()).await;
            }
        }
    })
    .await
}

async fn ask(
    client: &mut Client,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
) -> Response<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(client.uri("a.example", path));
    if matches!(client, Client::H1(_)) {
        request = request.header("host", "a.example");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::default()).expect("a request");
    client.send(request).await.expect("an answer")
}

fn field<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().expect("text"))
}

fn decode(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text),
        "zstd" => zstd::Decoder::new(bytes)
            .expect("a frame")
            .read_to_string(&mut text),
        _ => panic!("{coding:?} is no coding"),
    }
    .expect("a whole body");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_coding_that_it_likes_best() {
    let backend = backend(&[(
        "/tagged",
        "200\nContent-Type: text/html; charset=utf-8\nETag: \"v1\"\nVary: Accept-Language\nAccept-Ranges: bytes",
    ), (
        "/weak", "200\nContent-Type: text/html\nETag: W/\"v1\"",
    ), (
        "/broken", "200\nContent-Type: text/html\nETag: v1",
    )])
    .await;
    let gateway = gateway(backend.address, "{algorithms: [zstd, br, gzip]}", "");
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        for (accept, coding) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("zstd;q=0.5, br;q=0.9, gzip", "gzip"),
            ("identity;q=0, *;q=0.1", "zstd"),
        ] {
            let response = ask(
                &mut client,
                ("GET", "/tagged"),
                &[("accept-encoding", accept)],
            )
            .await;
            let headers = response.headers();
            assert_eq!(field(headers, "content-encoding"), coding, "{accept}");
            assert_eq!(field(headers, "etag"), "W/\"v1\"");
            for gone in ["content-length", "accept-ranges"] {
                assert_eq!(field(headers, gone), "", "{gone}");
            }
            let vary: Vec<_> = headers.get_all("vary").iter().collect();
            assert_eq!(vary, ["Accept-Language", "Accept-Encoding"]);
            assert!(response.body().len() * 10 < page().len());
            assert!(decode(coding, response.body()) == page(), "{accept}");
        }
        for (path, tag) in [("/weak", "W/\"v1\""), ("/broken", "")] {
            let response = ask(&mut client, ("GET", path), &[("accept-encoding", "br")]).await;
            assert_eq!(field(response.headers(), "etag"), tag);
        }
    }
    // The backend may compress too, and was asked.
    assert!(
        backend.heads()[0]
            .to_ascii_lowercase()
            .contains("accept-encoding: gzip")
    );
    // HTTP/1.0 has no chunks: its body ends with the connection.
    let response = raw(
        gateway.http(),
        b"GET / HTTP/1.0\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n",
    );
    assert!(response.contains("Content-Encoding: gzip"), "{response}");
    assert!(
        !response.to_ascii_lowercase().contains("transfer-encoding"),
        "{response}"
    );
    let (taken, given) = (
        gateway.metric(r#"portcullis_compression_bytes_total{direction="in"}"#),
        gateway.metric(r#"portcullis_compression_bytes_total{direction="out"}"#),
    );
    assert_eq!(taken, Some(15.0 * page().len() as f64));
    assert!(given > Some(0.0) && given < taken.map(|taken| taken / 10.0));
    let zstd = gateway.metric(r#"portcullis_compressions_total{outcome="zstd"}"#);
    assert_eq!(zstd, Some(4.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_changed_passes_as_it_is() {
    let backend = backend(&[
        ("/image", "200\nContent-Type: image/png"),
        (
            "/coded",
            "200\nContent-Type: text/html\nContent-Encoding: br",
        ),
        (
            "/fixed",
            "200\nContent-Type: text/html\nCache-Control: private, no-transform",
        ),
        (
            "/digest",
            "200\nContent-Type: text/html\nRepr-Digest: sha-256=:x:",
        ),
        (
            "/part",
            "206\nContent-Type: text/html\nContent-Range: bytes 0-1/2",
        ),
        ("/grpc", "200\nContent-Type: application/grpc"),
        ("/events", "200\nContent-Type: text/event-stream"),
        ("/empty", "204\nContent-Type: text/html"),
        ("/same", "304\nETag: \"v1\""),
        ("/cookie", "200\nContent-Type: text/html\nSet-Cookie: a=b"),
        ("/style", "200\nContent-Type: text/css"),
        (
            "/public",
            "200\nContent-Type: text/html\nCache-Control: public",
        ),
    ])
    .await;
    let gateway = gateway(backend.address, "{algorithms: [gzip]}", "");
    let (gzip, cookie, bearer) = (
        ("accept-encoding", "gzip"),
        ("cookie", "id=1"),
        ("authorization", "Bearer x"),
    );
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        for (method, path, headers, coded, vary) in [
            ("GET", "/", &[gzip][..], true, true),
            ("GET", "/image", &[gzip], false, false),
            ("GET", "/fixed", &[gzip], false, false),
            ("GET", "/digest", &[gzip], false, false),
            ("GET", "/part", &[gzip], false, false),
            ("GET", "/grpc", &[gzip], false, false),
            ("GET", "/events", &[gzip], false, false),
            ("GET", "/empty", &[gzip], false, false),
            ("GET", "/same", &[gzip], false, true),
            ("GET", "/off", &[gzip], false, false),
            ("HEAD", "/", &[gzip], true, true),
            ("HEAD", "/", &[], false, true),
            ("HEAD", "/image", &[gzip], false, false),
            ("GET", "/", &[], false, true),
            ("GET", "/", &[("accept-encoding", "br")], false, true),
            ("GET", "/", &[gzip, ("range", "bytes=0-1")], false, true),
            // Secrets beside text of others are not compressed.
            ("GET", "/", &[gzip, cookie], false, true),
            ("GET", "/", &[gzip, bearer], false, true),
            ("GET", "/cookie", &[gzip], false, true),
            ("GET", "/style", &[gzip, cookie], true, true),
            ("GET", "/public", &[gzip, bearer], true, true),
        ] {
            let response = ask(&mut client, (method, path), headers).await;
            let head = response.headers();
            let coding = field(head, "content-encoding");
            assert_eq!(coding == "gzip", coded, "{path} {headers:?} {head:?}");
            let told = if vary { "Accept-Encoding" } else { "" };
            assert_eq!(field(head, "vary"), told, "{path} {headers:?}");
            let expected = match (method, response.status().as_u16()) {
                ("HEAD", _) | (_, 204 | 304) => String::new(),
                _ => page(),
            };
            if coded && method != "HEAD" {
                assert!(decode("gzip", response.body()) == expected, "{path}");
            } else {
                assert!(response.body() == expected.as_bytes(), "{path} {headers:?}");
            }
            if path == "/same" {
                // What it is about had a weak one.
                assert_eq!(field(head, "etag"), "W/\"v1\"");
            }
            if method == "HEAD" {
                let length = page().len().to_string();
                let told = if coded { "" } else { &length };
                assert_eq!(field(head, "content-length"), told);
            }
        }
        let response = ask(&mut client, ("GET", "/coded"), &[gzip]).await;
        assert_eq!(field(response.headers(), "content-encoding"), "br");
        assert!(response.body() == page().as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_answers_other_types_and_secrets_go_as_the_policy_says() {
    let backend = backend(&[
        ("/events", "200\nContent-Type: text/event-stream"),
        ("/json", "200\nContent-Type: application/json"),
    ])
    .await;
    let size = page().len();
    let policy = |min: usize| {
        format!(
            "{{algorithms: [br], types: [text/*], minSize: {min}B, credentials: compress, level: small}}"
        )
    };
    let gateway = gateway(backend.address, &policy(size), "");
    let mut client = Client::h1(gateway.http()).await;
    let headers = [("accept-encoding", "br"), ("cookie", "id=1")];
    for (path, coding) in [("/", "br"), ("/events", "br"), ("/json", "")] {
        let response = ask(&mut client, ("GET", path), &headers).await;
        assert_eq!(
            field(response.headers(), "content-encoding"),
            coding,
            "{path}"
        );
    }
    gateway.reload(
        &std::fs::read_to_string(gateway.folder().join("portcullis.yaml"))
            .expect("the configuration")
            .replace(&policy(size), &policy(size + 1)),
    );
    let response = ask(&mut client, ("GET", "/"), &headers).await;
    assert_eq!(field(response.headers(), "content-encoding"), "");
    assert_eq!(field(response.headers(), "vary"), "");
}

/// A backend that sends a part of a body, and the rest when it is told to.
async fn pausing(told: Arc<Semaphore>, end: &'static str) -> Scripted {
    Scripted::start(move |mut line| {
        let told = Arc::clone(&told);
        async move {
            if line.head().await.is_empty() {
                return;
            }
            line.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
            )
            .await;
            told.acquire().await.expect("it is never closed").forget();
            line.send(end.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_backend_has_sent_is_with_the_client_at_once() {
    for coding in ["gzip", "br", "zstd"] {
        let told = Arc::new(Semaphore::new(0));
        let backend = pausing(Arc::clone(&told), "4\r\nlast\r\n0\r\n\r\n").await;
        let gateway = gateway(backend.address, "{algorithms: [zstd, br, gzip]}", "");
        let mut stream = TcpStream::connect(gateway.http())
            .await
            .expect("a listener");
        let request =
            format!("GET / HTTP/1.0\r\nHost: a.example\r\nAccept-Encoding: {coding}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut read = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let more = tokio::time::timeout_at(deadline.into(), stream.read_buf(&mut read)).await;
            assert!(
                more.expect("flushed in time").expect("open") > 0,
                "{coding}"
            );
            let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let (mut start, body) = ([0; 5], &read[head + 4..]);
            let decoded = match coding {
                "gzip" => flate2::read::GzDecoder::new(body).read_exact(&mut start),
                "br" => brotli::Decompressor::new(body, 16).read_exact(&mut start),
                _ => {
                    zstd::Decoder::new(body).and_then(|mut decoder| decoder.read_exact(&mut start))
                }
            };
            if decoded.is_ok() {
                assert_eq!(&start, b"first");
                break;
            }
        }
        told.add_permits(1);
        stream.read_to_end(&mut read).await.expect("the end");
        let head = read
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head");
        assert_eq!(decode(coding, &read[head + 4..]), "firstlast");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_follow_a_compressed_body_and_a_cut_one_does_not_look_whole() {
    let told = Arc::new(Semaphore::new(0));
    let backend = pausing(Arc::clone(&told), "0\r\nX-Sum: 7\r\n\r\n").await;
    let site = gateway(backend.address, "{algorithms: [br]}", "");
    let Client::H2(mut sender) = h2c(site.http()).await else {
        unreachable!("asked for HTTP/2")
    };
    let request = Request::get("https://a.example/").header("accept-encoding", "br");
    let request = request.body(Full::default().boxed_unsync());
    told.add_permits(1);
    let answer = sender.send_request(request.expect("a request")).await;
    let body = answer.expect("an answer").into_body().collect().await;
    let body = body.expect("a body");
    assert_eq!(body.trailers().expect("trailers")["x-sum"], "7");
    assert_eq!(decode("br", &body.to_bytes()), "first");

    let backend = pausing(Arc::clone(&told), "4\r\nla").await;
    let site = gateway(backend.address, "{algorithms: [gzip]}", "");
    for mut client in [Client::h1(site.http()).await, h2c(site.http()).await] {
        let request = Request::get(client.uri("a.example", "/"))
            .header("host", "a.example")
            .header("accept-encoding", "gzip");
        told.add_permits(1);
        let answer = client
            .send(request.body(Full::default()).expect("a request"))
            .await;
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressions_at_once_are_bounded_and_a_further_answer_is_plain() {
    let told = Arc::new(Semaphore::new(0));
    let backend = pausing(Arc::clone(&told), "0\r\n\r\n").await;
    let gateway = gateway(
        backend.address,
        "{algorithms: [gzip]}",
        "process: {maxCompressions: 1}",
    );
    let request =
        b"GET / HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let mut first = Raw::connect(gateway.http());
    first.send(request);
    wait_for("the first", || {
        gateway.metric(r#"portcullis_compressions_total{outcome="gzip"}"#) == Some(1.0)
    });
    let mut second = Raw::connect(gateway.http());
    second.send(request);
    wait_for("the second", || {
        gateway.metric(r#"portcullis_compressions_total{outcome="over_limit"}"#) == Some(1.0)
    });
    told.add_permits(2);
    let second = second.read_all();
    assert!(!second.contains("Content-Encoding"), "{second}");
    assert!(second.contains("vary: Accept-Encoding"), "{second}");
    assert!(second.contains("first"), "{second}");
    assert!(first.read_all().contains("Content-Encoding: gzip"));
    // Its place is free again.
    told.add_permits(1);
    let third = raw(gateway.http(), request);
    assert!(third.contains("Content-Encoding: gzip"), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_see_the_plain_body_and_the_client_gets_it_compressed() {
    let backend = backend(&[]).await;
    let more = r#"wafProfiles: [{name: answers, rules: [{inline: "SecResponseBodyAccess On\nSecRule RESPONSE_BODY \"@contains leak\" \"id:1,phase:4,deny\"\n"}]}]"#;
    let gateway = gateway(
        backend.address,
        "{algorithms: [zstd], credentials: compress}, waf: {profile: answers}",
        more,
    );
    let mut client = Client::h1(gateway.http()).await;
    let response = ask(&mut client, ("GET", "/"), &[("accept-encoding", "zstd")]).await;
    assert_eq!(field(response.headers(), "content-encoding"), "zstd");
    assert!(decode("zstd", response.body()) == page());
    assert!(
        !backend.heads()[0]
            .to_ascii_lowercase()
            .contains("accept-encoding")
    );
}
