//! `Expect: 100-continue` (RFC 9110 section 10.1.1): one 100 for a body that is wanted,
//! and the final status at once for one that is not.

use std::time::{Duration, Instant};

use portcullis_tests::{Backend, Raw, Recorder, sha256, status_of};

use crate::site::{HELD_OR_STREAMED, KIB_64, Site, one, text};

/// A body in chunks of 10 kB.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    for part in body.chunks(10_000) {
        framed.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        framed.extend_from_slice(part);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

/// A head that expects, and its body as it is framed.
fn request(host: &str, body: &[u8], chunks: bool) -> (String, Vec<u8>) {
    let (framing, framed) = if chunks {
        ("Transfer-Encoding: chunked".to_owned(), chunked(body))
    } else {
        (format!("Content-Length: {}", body.len()), body.to_vec())
    };
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {host}\r\n{framing}\r\nContent-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n"
    );
    (head, framed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_is_told_to_go_on_once() {
    for policies in HELD_OR_STREAMED {
        let backend = Backend::start("one").await;
        let site = Site::start(&one(backend.address, "http1"), policies);
        for chunks in [false, true] {
            for len in [7, KIB_64 + 1, 1 << 20] {
                let what = format!("{policies} {chunks} {len}");
                let body = text(len);
                let (head, framed) = request("any.example", &body, chunks);
                let mut client = Raw::connect(site.gateway.http());
                client.send(head.as_bytes());
                let first = client.response();
                assert_eq!(status_of(&first), 100, "{what}: {first}");
                let answer = client.send(&framed).response();
                assert_eq!(status_of(&answer), 200, "{what}: {answer}");
                assert_eq!(backend.last().body_sha256, sha256(&body), "{what}");
                assert_eq!(backend.last().header("expect"), "", "{what}");
                // The next request of the connection is seen as one.
                client.send(b"GET /next HTTP/1.1\r\nHost: any.example\r\n\r\n");
                assert_eq!(status_of(&client.response()), 200, "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_is_served_all_the_same() {
    for policies in HELD_OR_STREAMED {
        let backend = Backend::start("one").await;
        let site = Site::start(&one(backend.address, "http1"), policies);
        for chunks in [false, true] {
            let body = text(KIB_64 + 1);
            let (head, framed) = request("any.example", &body, chunks);
            let mut client = Raw::connect(site.gateway.http());
            client.send(&[head.as_bytes(), &framed].concat());
            let mut answer = client.response();
            if status_of(&answer) == 100 {
                answer = client.response();
            }
            assert_eq!(status_of(&answer), 200, "{policies} {chunks}: {answer}");
            assert_eq!(backend.last().body_sha256, sha256(&body));
        }
    }
}

/// ING-26: the body may follow or not, so that nothing behind the head is a request.
#[tokio::test(flavor = "multi_thread")]
async fn ing_26_a_refusal_comes_at_once_and_what_follows_is_no_request() {
    let recorder = Recorder::start().await;
    // Refused by its length, by the address of the client, by its host, and by a rule.
    let closed = "{maxBodySize: 1KiB, access: [nobody]}";
    let ruled = "{waf: {profile: evil}}";
    for (policies, host, status) in [
        ("{maxBodySize: 1KiB}", "any.example", 413),
        (closed, "any.example", 403),
        ("{}", "unknown.example", 404),
        (ruled, "any.example", 403),
    ] {
        let site = Site::start(&one(recorder.address, "http1"), policies);
        for chunks in [false, true] {
            // Only the body itself tells that it is too long, where no length does.
            if chunks && status == 413 {
                continue;
            }
            let what = format!("{policies} {host} {chunks}");
            let (head, _) = request(host, &text(2_000_000), chunks);
            let head = if policies == ruled {
                head.replace("/upload", "/upload?q=evil")
            } else {
                head
            };
            let began = Instant::now();
            let mut client = Raw::connect(site.gateway.http());
            client.send(head.as_bytes());
            let answer = client.response();
            assert_eq!(status_of(&answer), status, "{what}: {answer}");
            assert!(
                answer.to_ascii_lowercase().contains("connection: close"),
                "{what}: {answer}"
            );
            assert!(began.elapsed() < Duration::from_secs(5), "{what}");
            // A client that takes the refusal for the end of its request asks anew.
            client.send(b"GET /smuggled HTTP/1.1\r\nHost: any.example\r\n\r\n");
            assert_eq!(client.read_all(), "", "{what}");
            let smuggled = |line: &serde_json::Value| line["path"] == "/smuggled";
            assert!(!site.gateway.access_lines().iter().any(smuggled), "{what}");
        }
    }
    assert_eq!((recorder.connections(), recorder.bytes()), (0, 0));
}

/// A chunked body that turns out too long was asked for, so 413 comes behind the 100.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_that_turns_out_too_long_is_refused_behind_the_100() {
    for policies in [
        "{maxBodySize: 1KiB}",
        "{maxBodySize: 1KiB, waf: {profile: evil}}",
    ] {
        let backend = Backend::start("one").await;
        let site = Site::start(&one(backend.address, "http1"), policies);
        let (head, framed) = request("any.example", &text(20_000), true);
        let mut client = Raw::connect(site.gateway.http());
        client.send(head.as_bytes());
        assert_eq!(status_of(&client.response()), 100, "{policies}");
        let answer = client.send(&framed).response();
        assert_eq!(status_of(&answer), 413, "{policies}: {answer}");
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: any.example\r\n\r\n");
        assert_eq!(client.read_all(), "", "{policies}");
        assert_eq!(backend.requests(), 0, "{policies}");
    }
}

/// HTTP/1.0 knows no 100 (RFC 9110 section 10.1.1): the expectation is ignored.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_not_told_to_go_on() {
    for policies in HELD_OR_STREAMED {
        let backend = Backend::start("one").await;
        let site = Site::start(&one(backend.address, "http1"), policies);
        let mut client = Raw::connect(site.gateway.http());
        client.send(b"POST /upload HTTP/1.0\r\nHost: any.example\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nf=1");
        let answer = client.response();
        assert_eq!(status_of(&answer), 200, "{policies}: {answer}");
        assert_eq!(backend.last().body_len, 3, "{policies}");
    }
}
