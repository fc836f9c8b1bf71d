//! Bytes that two parsers read differently: refused, or made one reading of.

use portcullis_tests::{Backend, Gateway, Raw, raw, status_of, wait_for};

async fn site() -> (Backend, Gateway) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: any
  hosts: [any.example]
  rules:
  - {{matches: [{{path: {{prefix: /admin}}}}]}}
  - {{backends: [{{name: one}}]}}
",
        backend.address
    ));
    (backend, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_refused_and_the_connection_ends() {
    let (backend, gateway) = site().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: any.example\r\n\r\n";
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 4\r\n",
        " Content-Length: 4\r\n",
        "X: 1\r\n Transfer-Encoding: chunked\r\n",
        "X\r\n",
        ": empty\r\n",
        "X\0: 1\r\n",
        "X: a\0b\r\n",
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: any.example\r\n{head}\r\n0\r\n\r\n{smuggled}");
        let answers = raw(gateway.http(), request.as_bytes());
        assert_eq!(status_of(&answers), 400, "{head:?}: {answers}");
        assert_eq!(
            answers.matches("HTTP/1.1 ").count(),
            1,
            "{head:?}: {answers}"
        );
    }
    assert_eq!(backend.requests(), 0, "{:?}", backend.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_reach_no_backend_as_a_request() {
    let (backend, gateway) = site().await;
    for body in [
        "4\r\nabcdX\r\n0\r\n\r\n",
        "zz\r\nabcd\r\n0\r\n\r\n",
        "-4\r\nabcd\r\n0\r\n\r\n",
        "0x4\r\nabcd\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
        "4 \n\nabcd\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: any.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        );
        let answers = Raw::connect(gateway.http())
            .send(request.as_bytes())
            .finish()
            .read_all();
        assert_ne!(status_of(&answers), 200, "{body:?}: {answers}");
    }
    assert_eq!(backend.requests(), 0, "{:?}", backend.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_one_and_well_formed() {
    let (backend, gateway) = site().await;
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: any.example\r\nHost: any.example\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: any.example\r\nHost: other.example\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: any.example, other.example\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: any.example/x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: user@any.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: any.example:99999\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: any example\r\n\r\n", 400),
        // An absolute target outdoes the Host header (RFC 9112 section 3.2.2), where they agree.
        (
            "GET http://any.example/ HTTP/1.1\r\nHost: any.example\r\n\r\n",
            200,
        ),
        (
            "GET http://other.example/ HTTP/1.1\r\nHost: any.example\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.0\r\nHost: any.example\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: ANY.example.:80\r\n\r\n", 200),
    ] {
        let head = head.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let answer = raw(gateway.http(), head.as_bytes());
        assert_eq!(status_of(&answer), status, "{head:?}: {answer}");
    }
    assert_eq!(backend.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_has_one_reading() {
    let (backend, gateway) = site().await;
    for (path, status) in [
        // /admin has no backend: each of these is the same path.
        ("/admin", 503),
        ("/%61dmin", 503),
        ("/x/../admin", 503),
        ("/x/%2e%2e/admin", 503),
        ("//admin", 503),
        ("/./admin", 503),
        ("/admin/..%2fx", 400),
        ("/admin%2fx", 400),
        ("/x%5c..%5cadmin", 400),
        ("/x\\..\\admin", 400),
        ("/%00", 400),
        ("/%zz", 400),
        ("/%", 400),
        ("/x/../../..", 400),
        ("/x/../y/./..//", 200),
        ("*", 400),
        ("x", 400),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.http(), head.as_bytes());
        assert_eq!(status_of(&answer), status, "{path}: {answer}");
    }
    // The backend reads the path that was judged.
    assert_eq!(backend.requests(), 1);
    assert_eq!(backend.last().target, "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_end_here() {
    let (backend, gateway) = site().await;
    let head = "GET / HTTP/1.1\r\nHost: any.example\r\nConnection: close, X-Hop, Authorization\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nProxy-Authorization: Basic eDp5\r\nAuthorization: Bearer x\r\n\r\n";
    assert_eq!(status_of(&raw(gateway.http(), head.as_bytes())), 200);
    let seen = backend.last();
    for name in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "te",
        "proxy-authorization",
    ] {
        assert_eq!(seen.header(name), "", "{name}");
    }
    // A client may not have fields taken away that others rely on.
    for name in ["X-Forwarded-For", "Host", "\"X-Forwarded-For\""] {
        let head =
            format!("GET / HTTP/1.1\r\nHost: any.example\r\nConnection: close, {name}\r\n\r\n");
        let answer = raw(gateway.http(), head.as_bytes());
        assert_eq!(status_of(&answer), 400, "{name}: {answer}");
    }
    assert_eq!(backend.requests(), 1);
    // The length is the connection's own business: the body arrives framed all the same.
    for (framing, body) in [
        (
            "Content-Length: 34",
            "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "22\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n",
        ),
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: any.example\r\nConnection: close, Content-Length, Transfer-Encoding\r\n{framing}\r\n\r\n{body}"
        );
        let before = backend.requests();
        let answer = raw(gateway.http(), request.as_bytes());
        if status_of(&answer) == 200 {
            assert_eq!(backend.requests(), before + 1, "{answer}");
            assert_eq!(backend.last().body_len, 34);
        } else {
            assert_eq!(
                (status_of(&answer), backend.requests()),
                (400, before),
                "{answer}"
            );
        }
    }
    assert!(backend.seen().iter().all(|seen| seen.target == "/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_gets_an_answer_and_hurts_nobody() {
    let (_, gateway) = site().await;
    for (bytes, status) in [
        (&b"GET / HTTP/1.1 x\r\nHost: any.example\r\n\r\n"[..], 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: any.example\r\n\r\n", 400),
        (b"GET / FTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"G\xffT / HTTP/1.1\r\nHost: any.example\r\n\r\n", 400),
        (
            b"CONNECT any.example:443 HTTP/1.1\r\nHost: any.example:443\r\n\r\n",
            405,
        ),
        (b"TRACE / HTTP/1.1\r\nHost: any.example\r\n\r\n", 405),
    ] {
        let answer = Raw::connect(gateway.http()).send(bytes).finish().read_all();
        assert_eq!(status_of(&answer), status, "{bytes:?}: {answer}");
    }
    assert_eq!(gateway.management("/healthz").0, 200);
    assert!(!gateway.log().contains("panic"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_read_is_refused_and_told_like_any_other_request() {
    let (backend, gateway) = site().await;
    let heads = [
        ("GET /?q=\u{1} HTTP/1.1\r\nHost: any.example\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: any.example\r\nHost: b.example\r\n",
            400,
        ),
        ("hello\r\n", 400),
        ("GET /a HTTP/1.1 HTTP/1.1\r\nHost: any.example\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: any.example\r\nX Y: 1\r\n", 400),
        (
            "CONNECT any.example:443 HTTP/1.1\r\nHost: any.example:443\r\n",
            405,
        ),
    ];
    for (count, (head, status)) in heads.into_iter().enumerate() {
        let answer = raw(gateway.http(), format!("{head}\r\n").as_bytes());
        assert_eq!(status_of(&answer), status, "{head}: {answer}");
        assert!(!answer.contains("Server: "), "{head}: {answer}");
        let lower = answer.to_ascii_lowercase();
        assert!(
            lower.contains("x-portcullis-reason: normalise/"),
            "{head}: {answer}"
        );
        wait_for("the line", || gateway.access_lines().len() == count + 1);
        let line = &gateway.access_lines()[count];
        assert_eq!(line["status"], status, "{head}");
        assert_eq!(line["refusedBy"], "normalise", "{head}");
        let id = line["requestId"].as_str().expect("an id");
        assert!(answer.contains(id), "{head}: {answer}");
    }
    assert_eq!(backend.requests(), 0);
    let (_, metrics) = gateway.management("/metrics");
    assert!(
        metrics.contains(r#"portcullis_refusals_total{reason="malformed",stage="normalise"}"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_refused_at_its_limit() {
    let (_backend, gateway) = site().await;
    // The second begins like HTTP/2, which counts its heads itself, and is none.
    for start in ["GET / HTTP/1.1\r\n", "PRI / HTTP/1.1\r\n"] {
        let mut client = Raw::connect(gateway.http());
        client.send(format!("{start}Host: any.example\r\nX: ").as_bytes());
        client
            .send(&[b'a'; 80_000])
            .pause(std::time::Duration::from_millis(100));
        client.send(b"a");
        let answer = client.response();
        assert_eq!(status_of(&answer), 431, "{start}: {answer}");
        assert!(client.ends());
    }
}
