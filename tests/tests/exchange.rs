//! A request to a backend and its response: early answers, cut answers, retries,
//! pipelining, and clients and backends that are slow in turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use portcullis_tests::{
    Authority, Backend, Client, Gateway, Raw, Scripted, h2c, raw, status_of, wait_for,
};

/// A gateway without policies but these.
fn gateway(backend: &str, policies: &str) -> Gateway {
    Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, {backend}}}]
routes: [{{name: any, policies: {policies}, rules: [{{backends: [{{name: one}}]}}]}}]
"
    ))
}

fn to(address: std::net::SocketAddr, policies: &str) -> Gateway {
    gateway(&format!("endpoints: [{{address: {address}}}]"), policies)
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::start("one").await;
    let gateway = to(backend.address, "{}");
    let requests = "GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let answers = raw(gateway.http(), requests.as_bytes());
    let places: Vec<_> = ["one /1", "one /2", "one /3"]
        .iter()
        .map(|body| answers.find(body))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{answers}"
    );
    assert_eq!(backend.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_behind_a_body_that_is_broken() {
    let backend = Backend::start("one").await;
    for policies in ["{}", "{waf: {profile: baseline}}"] {
        let gateway = Gateway::start(&format!(
            r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles: [{{name: baseline}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, policies: {policies}, rules: [{{backends: [{{name: one}}]}}]}}]
",
            backend.address
        ));
        for broken in ["zz\r\n", "5\r\nhello!!\r\n", "-1\r\n", "5\nhello"] {
            let mut client = Raw::connect(gateway.http());
            client
                .send(b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
                .pause(Duration::from_millis(50))
                .send(broken.as_bytes())
                .pause(Duration::from_millis(50))
                .send(b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let answers = client.read_all();
            assert!(
                answers.matches("HTTP/1.1 ").count() <= 1,
                "{policies} {broken:?}: {answers}"
            );
            assert!(
                backend.seen().iter().all(|seen| seen.target != "/smuggled"),
                "{policies} {broken:?}: {answers}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_may_answer_before_it_has_the_request() {
    // It never reads the body, and keeps the connection open.
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
            .await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let gateway = to(backend.address, "{maxBodySize: 1GiB}");
    let mut client = Raw::connect(gateway.http());
    client.send(b"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 20000000\r\n\r\n");
    let began = Instant::now();
    // More than every buffer on the way holds.
    let sender = std::thread::spawn(move || {
        for _ in 0..200 {
            client.send(&[b'x'; 100_000]);
        }
        client.read_all()
    });
    let answer = sender.join().expect("no panic");
    assert!(status_of(&answer) == 413 || answer.is_empty(), "{answer}");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    wait_for("the answer of the backend in the log", || {
        gateway
            .access_lines()
            .iter()
            .any(|line| line["status"] == 413 && line["refusedBy"].is_null())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_a_slow_backend_over_tls_never_stalls() {
    let authority = Authority::new();
    let server = authority.server(&["one.example"], &["http/1.1"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    const LENGTH: usize = 6 << 20;
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let acceptor = tokio_rustls::TlsAcceptor::from(server);
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.expect("TLS");
                let (mut read, mut chunk) = (0, vec![0; 64 << 10]);
                while read < LENGTH {
                    match stream.read(&mut chunk).await {
                        Ok(0) | Err(_) => return,
                        Ok(part) => read += part,
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
                let _ = stream.flush().await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            });
        }
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).expect("writable");
    let yaml = format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {address}}}], tls: {{serverName: one.example, ca: ca.crt}}}}]
routes: [{{name: any, policies: {{timeouts: {{write: 4s}}}}, rules: [{{backends: [{{name: one}}]}}]}}]
"
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let mut client = Client::h1(gateway.http()).await;
    let request = Request::post("/upload")
        .header("host", "a.example")
        .body(Full::new(Bytes::from(vec![b'x'; LENGTH])))
        .expect("a request");
    let response = client.send(request).await.expect("an answer");
    assert_eq!(response.status(), 200, "{:?}", gateway.access_lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pauses_is_not_the_backends_fault() {
    let backend = Backend::start("one").await;
    let gateway = to(backend.address, "{timeouts: {read: 300ms, clientRead: 3s}}");
    let mut client = Raw::connect(gateway.http());
    client
        .send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nab")
        .pause(Duration::from_millis(900))
        .send(b"cd");
    assert_eq!(status_of(&client.response()), 200);
    let mut client = Raw::connect(gateway.http());
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nab");
    let answer = client.read_all();
    assert_eq!(status_of(&answer), 408, "{answer}");
}

/// Cuts its response in the middle, over HTTP/2.
async fn cutting_http2(reason: h2::Reason) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = Response::new(());
                    let mut body = respond.send_response(head, false).expect("a stream");
                    let _ = body.send_data(Bytes::from_static(b"half"), false);
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        body.send_reset(reason);
                    });
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_was_cut_never_looks_whole() {
    for reason in [h2::Reason::NO_ERROR, h2::Reason::INTERNAL_ERROR] {
        let address = cutting_http2(reason).await;
        let backend = format!("protocol: http2, endpoints: [{{address: {address}}}]");
        cut_for_every_client(&gateway(&backend, "{}"), &format!("h2 {reason:?}")).await;
    }
    for (what, answer) in [
        (
            "length",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        ),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ),
        (
            "in a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        ),
        (
            "bad chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        ),
    ] {
        let backend = Scripted::start(move |mut line| async move {
            line.head().await;
            line.send(answer.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        })
        .await;
        cut_for_every_client(&to(backend.address, "{}"), what).await;
    }
}

async fn cut_for_every_client(gateway: &Gateway, what: &str) {
    for (version, mut client) in [
        ("1.1", Client::h1(gateway.http()).await),
        ("2", h2c(gateway.http()).await),
    ] {
        let answer = client.get("a.example", "/").await;
        assert!(answer.is_err(), "{what} to {version}: {answer:?}");
    }
    let mut old = Raw::connect(gateway.http());
    old.send(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    if what == "length" {
        let answer = old.read_all();
        assert!(answer.contains("Content-Length: 100"), "{answer}");
    } else {
        let end = old.end();
        assert_eq!(
            end,
            Some(std::io::ErrorKind::ConnectionReset),
            "{what} to 1.0"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_of_its_own_arrives_whole() {
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"HTTP/1.1 200 OK\r\n\r\nto the end").await;
    })
    .await;
    let gateway = to(backend.address, "{}");
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        let answer = client.get("a.example", "/").await.expect("an answer");
        assert_eq!(answer.body().as_ref(), b"to the end");
    }
    let old = raw(
        gateway.http(),
        b"GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n",
    );
    assert!(old.ends_with("\r\n\r\nto the end"), "{old}");
    assert!(old.to_lowercase().contains("connection: close"), "{old}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_died_costs_no_idempotent_request() {
    // Each connection answers once, and closes when it is asked again.
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        line.head().await;
    })
    .await;
    let gateway = to(backend.address, "{}");
    let mut client = Client::h1(gateway.http()).await;
    for n in 0..10 {
        let answer = client.get("a.example", "/").await.expect("an answer");
        assert_eq!(answer.status(), 200, "request {n}");
    }
    let heads = backend.heads().len();
    // What may have been acted upon is not sent twice.
    let post = || {
        Request::post("/")
            .header("host", "a.example")
            .body(Full::new(Bytes::from_static(b"x")))
            .expect("a request")
    };
    let statuses = [
        client.send(post()).await.expect("an answer").status(),
        client.send(post()).await.expect("an answer").status(),
    ];
    assert!(
        statuses.contains(&http::StatusCode::BAD_GATEWAY),
        "{statuses:?}"
    );
    assert_eq!(backend.heads().len(), heads + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_backend_leaves_the_client_its_connection() {
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"not http at all\r\n\r\n").await;
    })
    .await;
    let gateway = to(backend.address, "{}");
    let mut client = Raw::connect(gateway.http());
    for _ in 0..3 {
        client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let answer = client.response();
        assert_eq!(status_of(&answer), 502, "{answer}");
        assert!(answer.contains("keep-alive"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn informational_responses_pass_to_those_who_know_them() {
    let backend = Scripted::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let gateway = to(backend.address, "{}");
    let new = raw(
        gateway.http(),
        b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
    );
    assert!(new.starts_with("HTTP/1.1 103 "), "{new}");
    assert!(
        new.contains("</a.css>") && new.ends_with("ok") && !new.contains(" 100 "),
        "{new}"
    );
    let old = raw(gateway.http(), b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert!(
        old.starts_with("HTTP/1.1 200 ") && old.ends_with("ok"),
        "{old}"
    );
    let mut client = h2c(gateway.http()).await;
    let answer = client.get("a.example", "/").await.expect("an answer");
    assert_eq!(answer.body().as_ref(), b"ok");
    // The connection of the backend was left clean.
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refusals_on_one_connection_are_no_large_head() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0', limits: {{maxHeaderSize: 4KiB, headerTimeout: 1s, idleTimeout: 20s}}}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, hosts: [known.example], rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    ));
    let mut client = Raw::connect(gateway.http());
    for n in 0..20 {
        let head = format!(
            "GET /{n} HTTP/1.1\r\nHost: a.example\r\nX-Fill: {}\r\n\r\n",
            "x".repeat(1000)
        );
        client.send(head.as_bytes());
        let answer = client.response();
        assert_eq!(status_of(&answer), 404, "request {n}: {answer}");
    }
    // Idle for longer than a head may take.
    client.pause(Duration::from_millis(1500));
    client.send(b"GET / HTTP/1.1\r\nHost: known.example\r\n\r\n");
    assert_eq!(status_of(&client.response()), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_in_several_fields_reach_http1_as_one() {
    let backend = Backend::start("one").await;
    let gateway = to(backend.address, "{}");
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        let request = Request::get(client.uri("a.example", "/"))
            .header("host", "a.example")
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        client.send(request).await.expect("an answer");
        assert_eq!(backend.last().header("cookie"), "a=1; b=2; c=3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_told_a_host_always() {
    let backend = Scripted::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = to(backend.address, "{}");
    for (request, status, host) in [
        (
            "GET / HTTP/1.0\r\n\r\n",
            200,
            Some(backend.address.to_string()),
        ),
        (
            "GET http://a.example:81/ HTTP/1.0\r\n\r\n",
            200,
            Some("a.example:81".into()),
        ),
        (
            "GET http://a.example/ HTTP/1.1\r\nConnection: close\r\n\r\n",
            400,
            None,
        ),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400, None),
    ] {
        let before = backend.heads().len();
        let answer = raw(gateway.http(), request.as_bytes());
        assert_eq!(status_of(&answer), status, "{request}: {answer}");
        let heads = backend.heads();
        match host {
            Some(host) => assert!(
                heads[before].contains(&format!("\r\nHost: {host}\r\n")),
                "{request}: {}",
                heads[before]
            ),
            None => assert_eq!(heads.len(), before, "{request}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_in_clear_is_not_tunnelled_past_the_gateway() {
    let backend = Scripted::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    )
    .await;
    let gateway = to(backend.address, "{}");
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        // The field is somebody else's.
        "Connection: close\r\nUpgrade: websocket\r\n",
    ] {
        let before = backend.heads().len();
        let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        let answer = Raw::connect(gateway.http())
            .send(request.as_bytes())
            .response();
        assert_eq!(status_of(&answer), 502, "{fields}: {answer}");
        let head = backend.heads()[before].to_ascii_lowercase();
        assert!(
            !head.contains("upgrade") && !head.contains("http2-settings"),
            "{head}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_upgrade_passes() {
    let backend = Scripted::start(|mut line| async move {
        let head = line.head().await;
        assert!(head.contains("Upgrade: SPDY/3.1\r\n"), "{head}");
        line.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhello")
            .await;
        let said = line.body(5).await;
        line.send(&said).await;
    })
    .await;
    let gateway = to(backend.address, "{}");
    let answer = raw(
        gateway.http(),
        b"POST /exec HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nearly",
    );
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhelloearly"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_backend_gets_trailers_announced_and_no_fields_of_a_connection() {
    let backend = Backend::start("one").await;
    let address = backend.address;
    let gateway = gateway(
        &format!("protocol: http2, endpoints: [{{address: {address}}}]"),
        "{}",
    );
    let answer = raw(
        gateway.http(),
        b"GET / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nConnection: close, TE, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\n",
    );
    assert_eq!(status_of(&answer), 200, "{answer}");
    let seen = backend.last();
    assert_eq!(seen.version, "HTTP/2.0");
    assert_eq!(seen.header("te"), "trailers");
    assert_eq!(seen.header("x-hop"), "");
    assert_eq!(seen.header("keep-alive"), "");
    // Its connection is shared by those who come after.
    let connections = backend.connections();
    let gateway = Arc::new(gateway);
    for _ in 0..5 {
        let mut client = h2c(gateway.http()).await;
        let answer = client.get("a.example", "/").await.expect("an answer");
        assert_eq!(answer.version(), Version::HTTP_2);
    }
    assert_eq!(backend.connections(), connections);
}
