//! Responses that rules look at: the client sees nothing of one before they have decided.

use std::net::SocketAddr;

use http::Request;
use http_body_util::{BodyExt, Full};
use portcullis_tests::{Backend, Client, Gateway, Raw, Scripted, h2c, status_of, wait_for};
use serde_json::json;

/// A gateway whose rules deny an answer with `leak` in its body.
fn gateway(address: SocketAddr, protocol: &str, profile: &str, process: &str) -> Gateway {
    Gateway::start(&format!(
        r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
process: {process}
wafProfiles:
- name: answers
  rules:
  - inline: |
      SecResponseBodyAccess On
      SecRule RESPONSE_BODY "@contains leak" "id:1,phase:4,deny,status:403,log"
  {profile}
backends: [{{name: one, protocol: {protocol}, endpoints: [{{address: {address}}}]}}]
routes: [{{name: any, policies: {{waf: {{profile: answers}}}}, rules: [{{backends: [{{name: one}}]}}]}}]
"#
    ))
}

fn chunked(parts: &[&str]) -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = parts
        .iter()
        .map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
    format!("{head}{}0\r\n\r\n", chunks.collect::<String>())
}

fn get(gateway: &Gateway, path: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    );
    portcullis_tests::raw(gateway.http(), request.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_answer_is_403_over_every_protocol_and_a_clean_one_is_whole() {
    let backend = Backend::start("one").await;
    for protocol in ["http1", "http2"] {
        let gateway = gateway(backend.address, protocol, "", "{}");
        for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
            let clean = client.get("a.example", "/fine?type=text/html").await;
            let clean = clean.expect("an answer");
            assert_eq!(clean.status(), 200, "{protocol}");
            assert_eq!(clean.headers()["content-length"], "24", "{protocol}");
            assert_eq!(clean.body(), "one /fine?type=text/html", "{protocol}");

            let denied = client.get("a.example", "/leak?type=text/html").await;
            let denied = denied.expect("an answer");
            assert_eq!(denied.status(), 403, "{protocol}");
            assert_eq!(denied.headers()["x-portcullis-reason"], "waf/blocked");
            assert!(!denied.headers().contains_key("server"), "{protocol}");
            assert!(!String::from_utf8_lossy(denied.body()).contains("leak"));

            // The rules do not look at this type, nor at an answer without a body.
            let other = client.get("a.example", "/leak?type=image/png").await;
            assert_eq!(other.expect("an answer").status(), 200, "{protocol}");
            let mut head = Request::head(client.uri("a.example", "/leak?type=text/html"));
            if matches!(client, Client::H1(_)) {
                head = head.header("host", "a.example");
            }
            let head = head.body(Full::default()).expect("a request");
            let head = client.send(head).await.expect("an answer");
            assert_eq!(head.status(), 200, "{protocol}");
        }
        wait_for("the audit records", || gateway.audit_lines().len() == 2);
        // The two logs have writers of their own.
        wait_for("the access records", || gateway.access_lines().len() == 8);
        assert_eq!(gateway.access_lines()[1]["reason"], "blocked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_follow_a_held_answer() {
    let backend = Backend::start("one").await;
    let gateway = gateway(backend.address, "http2", "", "{}");
    let Client::H2(mut sender) = h2c(gateway.http()).await else {
        panic!("an HTTP/2 client");
    };
    let request = Request::get("https://a.example/trailers?type=text/html");
    let request = request.body(Full::default().boxed_unsync());
    let answer = sender.send_request(request.expect("a request")).await;
    let body = answer.expect("an answer").into_body().collect().await;
    let body = body.expect("a body");
    assert_eq!(body.trailers().expect("trailers")["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "message");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_two_chunks_is_seen_whole() {
    let answer = chunked(&["<html>le", "ak</html>"]);
    let backend = Scripted::answering(answer.leak()).await;
    let gateway = gateway(backend.address, "http1", "", "{}");
    let denied = get(&gateway, "/");
    assert_eq!(status_of(&denied), 403, "{denied}");
    assert!(!denied.contains("html"), "{denied}");
    // A coded body could not be read.
    let head = backend.heads()[0].to_ascii_lowercase();
    assert!(!head.contains("accept-encoding"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_the_limit_goes_as_the_profile_says() {
    let long = "x".repeat(3000);
    let leak_first = format!("leak{long}");
    let leak_last = format!("{long}leak");
    let with_length = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (over, first, last) in [
        ("inspect-prefix", 403, 200),
        ("refuse", 502, 502),
        ("skip", 200, 200),
    ] {
        let profile = format!("responseBodyLimit: 1000B\n  responseOverLimit: {over}");
        for (body, expected) in [(&leak_first, first), (&leak_last, last)] {
            for answer in [
                with_length(body),
                chunked(&[body]),
                chunked(&[&body[..999], &body[999..2000], &body[2000..]]),
            ] {
                let backend = Scripted::answering(answer.leak()).await;
                let gateway = gateway(backend.address, "http1", &profile, "{}");
                let answer = get(&gateway, "/");
                assert_eq!(status_of(&answer), expected, "{over}: {answer}");
                if expected == 502 {
                    assert!(
                        answer.contains("waf/response-over-inspection-limit"),
                        "{answer}"
                    );
                }
                assert_eq!(expected == 200, answer.matches('x').count() >= 3000);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coded_answer_is_passed_on_unseen_or_refused() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nleak";
    let backend = Scripted::answering(answer).await;
    for (over, expected) in [("inspect-prefix", 200), ("skip", 200), ("refuse", 502)] {
        let profile = format!("responseOverLimit: {over}");
        let gateway = gateway(backend.address, "http1", &profile, "{}");
        assert_eq!(status_of(&get(&gateway, "/")), expected, "{over}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_only_detects_holds_nothing() {
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nleak\r\n").await;
        // The end comes when the client has seen the beginning.
        line.head().await;
    })
    .await;
    let gateway = gateway(backend.address, "http1", "mode: detect", "{}");
    let mut client = Raw::connect(gateway.http());
    client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let head = client.response();
    assert_eq!(status_of(&head), 200, "{head}");
    drop(client);

    let whole = Scripted::answering(chunked(&["leak"]).leak()).await;
    let gateway = self::gateway(whole.address, "http1", "mode: detect", "{}");
    assert_eq!(status_of(&get(&gateway, "/")), 200);
    wait_for("the audit record", || !gateway.audit_lines().is_empty());
    wait_for("the log line", || !gateway.access_lines().is_empty());
    assert_eq!(gateway.access_lines()[0]["waf"], "detected");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_never_held() {
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: leak\n\n")
            .await;
        line.head().await;
    })
    .await;
    let gateway = gateway(backend.address, "http1", "", "{}");
    let mut client = Raw::connect(gateway.http());
    client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status_of(&client.response()), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_breaks_off_a_held_answer_gives_a_502_and_no_half() {
    let backend = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nhalf")
            .await;
    })
    .await;
    let gateway = gateway(backend.address, "http1", "", "{}");
    let answer = get(&gateway, "/");
    assert_eq!(status_of(&answer), 502, "{answer}");
    assert!(answer.contains("upstream/closed"), "{answer}");
    assert!(!answer.contains("half"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_memory_go_as_the_profile_says() {
    let backend = Scripted::start(|mut line| async move {
        loop {
            let head = line.head().await;
            if head.is_empty() {
                return;
            }
            if head.starts_with("POST") {
                line.body(2000).await;
            }
            let answer = chunked(&["leak", &"x".repeat(2000)]);
            line.send(answer.as_bytes()).await;
        }
    })
    .await;
    let process = "{maxBufferedBytes: 1KiB}";
    let post = format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n{}",
        "y".repeat(2000)
    );
    for (spent, expected) in [("refuse", 503), ("skip", 200)] {
        let profile = format!("buffersSpent: {spent}");
        let gateway = gateway(backend.address, "http1", &profile, process);
        let answer = get(&gateway, "/");
        assert_eq!(status_of(&answer), expected, "{answer}");
        let answer = portcullis_tests::raw(gateway.http(), post.as_bytes());
        assert_eq!(status_of(&answer), expected, "{answer}");
        if expected == 503 {
            assert!(answer.contains("body/buffers-spent"), "{answer}");
            wait_for("the log lines", || gateway.access_lines().len() == 2);
            assert_eq!(gateway.access_lines()[1]["refusedBy"], json!("body"));
        } else {
            assert_eq!(answer.matches("xx").count(), 1000, "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phase_4_decides_on_what_phase_3_found_where_no_body_is_looked_at() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
- name: scores
  rules:
  - inline: |
      SecRule RESPONSE_STATUS "@streq 500" "id:1,phase:3,pass,nolog,setvar:tx.score=5"
      SecRule TX:score "@ge 5" "id:2,phase:4,deny,status:403,log"
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, policies: {{waf: {{profile: scores}}}}, rules: [{{backends: [{{name: one}}]}}]}}]
"#,
        backend.address
    ));
    assert_eq!(status_of(&get(&gateway, "/status/500")), 403);
    assert_eq!(status_of(&get(&gateway, "/status/501")), 501);
}
