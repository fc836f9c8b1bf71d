//! What passes through besides plain requests: HTTP/2 both ways, WebSocket, gRPC, events.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Full};
use portcullis_tests::{Authority, Backend, Client, Gateway, Raw, h2c, https_client, status_of};
use tokio_tungstenite::tungstenite::Message;

struct Site {
    gateway: Gateway,
    authority: Authority,
}

/// A gateway with the WAF on: what is not held must pass all the same.
fn site(backend: &Backend, protocol: &str, tls: &str) -> Site {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "any", &["any.example"]);
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).expect("writable");
    let yaml = format!(
        r"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: https, protocol: https, address: '127.0.0.1:0'}}
certificates: [{{name: any, certificate: any.crt, key: any.key}}]
wafProfiles: [{{name: baseline}}]
defaults: {{waf: {{profile: baseline}}}}
backends: [{{name: one, protocol: {protocol}, endpoints: [{{address: {}}}]{tls}}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    );
    Site {
        gateway: Gateway::start_in(folder, &yaml, &[]),
        authority,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_reaches_a_backend_of_every_version() {
    let backend = Backend::start("one").await;
    for (protocol, seen) in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")] {
        let site = site(&backend, protocol, "");
        let https = site.gateway.https();
        let mut clients = [
            Client::h1(site.gateway.http()).await,
            h2c(site.gateway.http()).await,
            Client::tls(https, &site.authority, "any.example", false)
                .await
                .expect("TLS"),
            Client::tls(https, &site.authority, "any.example", true)
                .await
                .expect("TLS"),
        ];
        for client in &mut clients {
            let response = client
                .get("any.example", "/x?y=1")
                .await
                .expect("an answer");
            assert_eq!(response.status(), 200);
            assert_eq!(response.body().as_ref(), b"one /x?y=1");
            let last = backend.last();
            assert_eq!(last.version, seen);
            assert_eq!(last.target, "/x?y=1");
        }
        // A library that chooses by ALPN.
        let client = https_client(&site.authority, &["any.example"], https);
        let url = format!("https://any.example:{}/x", https.port());
        let response = client.get(url).send().await.expect("an answer");
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.text().await.expect("a body"), "one /x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_over_tls_is_verified() {
    let authority = Authority::new();
    let backend = Backend::start_tls(
        "one",
        authority.server(&["inner.example"], &["h2", "http/1.1"]),
    )
    .await;
    for (protocol, name, ours, status) in [
        ("http1", "inner.example", true, 200),
        ("http2", "inner.example", true, 200),
        ("http1", "other.example", true, 502),
        ("http1", "inner.example", false, 502),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pem = if ours {
            authority.pem()
        } else {
            Authority::new().pem()
        };
        std::fs::write(folder.path().join("ca.crt"), pem).expect("writable");
        let yaml = format!(
            r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, protocol: {protocol}, endpoints: [{{address: {}}}], tls: {{serverName: {name}, ca: ca.crt}}}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
            backend.address
        );
        let gateway = Gateway::start_in(folder, &yaml, &[]);
        let mut client = Client::h1(gateway.http()).await;
        let response = client.get("any.example", "/").await.expect("an answer");
        assert_eq!(response.status(), status, "{protocol} {name} {ours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_passes_both_ways() {
    let backend = Backend::start("one").await;
    let site = site(&backend, "http1", "");
    let url = format!("ws://{}/chat", site.gateway.http());
    let (mut socket, response) = tokio_tungstenite::connect_async(url)
        .await
        .expect("an upgrade");
    assert_eq!(response.status(), 101);
    for n in 0..20 {
        let message = Message::text(format!("{n}").repeat(1000));
        socket.send(message.clone()).await.expect("open");
        assert_eq!(socket.next().await.expect("open").expect("open"), message);
    }
    // More bytes than any body limit: an upgraded connection has none.
    let big = Message::binary(vec![7; 12 << 20]);
    socket.send(big.clone()).await.expect("open");
    assert_eq!(socket.next().await.expect("open").expect("open"), big);
    socket.close(None).await.expect("open");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_with_its_trailers_and_is_not_held() {
    let backend = Backend::start("one").await;
    let site = site(&backend, "http2", "");
    let mut client = Client::tls(site.gateway.https(), &site.authority, "any.example", true)
        .await
        .expect("TLS");
    let request = Request::post("https://any.example/trailers")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from("\0\0\0\0\u{5}hello"))
        .expect("a request");
    let Client::H2(sender) = &mut client else {
        unreachable!("asked for HTTP/2")
    };
    let response = sender
        .send_request(request.map(BodyExt::boxed_unsync))
        .await
        .expect("an answer");
    let body = response.into_body().collect().await.expect("a body");
    let trailers = body.trailers().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(backend.last().header("te"), "trailers");
    assert_eq!(backend.last().body_len, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_as_they_happen() {
    let backend = Backend::start("one").await;
    let site = site(&backend, "http1", "");
    let started = Instant::now();
    let url = format!("http://{}/sse", site.gateway.http());
    let client = https_client(&site.authority, &[], site.gateway.http());
    let response = client.get(url).send().await.expect("an answer");
    let mut stream = response.bytes_stream();
    let first = stream.next().await.expect("an event").expect("an event");
    assert_eq!(first.as_ref(), b"data: 0\n\n");
    // The backend takes 200 ms for all: the first did not wait for the last.
    let first_after = started.elapsed();
    while let Some(event) = stream.next().await {
        event.expect("an event");
    }
    assert!(started.elapsed() - first_after >= Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_ends_by_its_head() {
    let backend = Backend::start("one").await;
    let site = site(&backend, "http1", "");
    let mut client = Client::h1(site.gateway.http()).await;
    for status in [204, 304, 200] {
        let path = format!("/status/{status}");
        let response = client.get("any.example", &path).await.expect("an answer");
        assert_eq!(response.status(), status);
    }
    let request = Request::head("/x")
        .header("host", "any.example")
        .body(Full::default());
    let response = client
        .send(request.expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(
        (response.status().as_u16(), response.body().len()),
        (200, 0)
    );
    assert_eq!(
        client
            .get("any.example", "/")
            .await
            .expect("an answer")
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn web_sockets_that_open_on_a_busy_machine_stay_open() {
    let backend = Backend::start("one").await;
    let site = site(&backend, "http1", "");
    let http = site.gateway.http();
    for _ in 0..10 {
        let sockets = (0..50).map(|_| {
            tokio::spawn(async move {
                let url = format!("ws://{http}/chat");
                let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
                for n in 0..3 {
                    let message = Message::text(n.to_string());
                    socket.send(message.clone()).await?;
                    anyhow::ensure!(socket.next().await.transpose()? == Some(message));
                }
                Ok(())
            })
        });
        for socket in sockets.collect::<Vec<_>>() {
            socket.await.expect("no panic").expect("it stays open");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_the_backend_does_not_want_is_answered_at_once() {
    let backend = Backend::start("one").await;
    let site = site(&backend, "http1", "");
    for upgrade in ["h2c", "websocket"] {
        let mut connection = Raw::connect(site.gateway.http());
        for status in [404, 204, 200] {
            let started = Instant::now();
            let head = format!(
                "GET /status/{status} HTTP/1.1\r\nHost: any.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {upgrade}\r\n\r\n"
            );
            connection.send(head.as_bytes());
            let answer = connection.response();
            assert_eq!(status_of(&answer), status, "{upgrade}: {answer}");
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "{upgrade} {status}"
            );
        }
    }
    assert_eq!(backend.requests(), 6, "nothing follows a request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_is_logged_and_refused_like_any_request() {
    let backend = Backend::start("one").await;
    let site = site(&backend, "http1", "");
    let http = site.gateway.http();
    let open = |path: &'static str| async move {
        tokio_tungstenite::connect_async(format!("ws://{http}{path}")).await
    };
    let (mut socket, response) = open("/chat").await.expect("an upgrade");
    let id = response.headers()["x-request-id"]
        .to_str()
        .expect("text")
        .to_owned();
    socket.send(Message::text("hello")).await.expect("open");
    socket.next().await.expect("open").expect("open");
    socket.close(None).await.expect("open");
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
    drop(socket);
    let line = site.gateway.access_line(&id);
    assert_eq!(line["status"], 101);
    assert!(
        line["bytesIn"].as_u64() > Some(5) && line["bytesOut"].as_u64() > Some(5),
        "{line}"
    );
    for (path, status) in [
        ("/?q=%3Cscript%3Ealert(1)%3C/script%3E", 403),
        ("/%00", 400),
    ] {
        let Err(tokio_tungstenite::tungstenite::Error::Http(response)) = open(path).await else {
            panic!("{path} was let through");
        };
        assert_eq!(response.status(), status, "{path}");
    }
    // An end on one side is passed on to the other.
    let mut raw = Raw::connect(http);
    raw.send(b"GET /chat HTTP/1.1\r\nHost: any.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(status_of(&raw.response()), 101);
    assert!(raw.finish().ends());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_an_old_version_does_not_lower_the_client() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.expect("a request");
            // With a length for one path, ended by the close for the other.
            let answer: &[u8] = if head[..read].starts_with(b"GET /length") {
                b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody"
            } else {
                b"HTTP/1.0 200 OK\r\n\r\nbody"
            };
            stream.write_all(answer).await.expect("open");
        }
    });
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: '{address}'}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
"
    ));
    for path in ["/length", "/close"] {
        for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
            for _ in 0..2 {
                let response = client.get("any.example", path).await.expect("an answer");
                assert_eq!(response.body(), "body", "{path}");
                assert_ne!(response.version(), http::Version::HTTP_10, "{path}");
            }
        }
        let request = format!("GET {path} HTTP/1.0\r\nHost: any.example\r\n\r\n");
        let answer = portcullis_tests::raw(gateway.http(), request.as_bytes());
        assert!(answer.ends_with("\r\n\r\nbody"), "{path}: {answer}");
    }
}
