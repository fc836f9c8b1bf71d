//! What the WAF keeps of requests while their responses are on their way.

use std::{sync::Arc, time::Duration};

use portcullis_tests::{Gateway, Raw, Scripted, status_of};
use tokio::sync::{Notify, mpsc};

const BODY: usize = 400_000;

/// More requests than bodies that the memory has room for.
const REQUESTS: usize = 12;

/// Refused requests that wait for their pages.
const WAITING: usize = 160;

fn config(backend: std::net::SocketAddr, rules: &str) -> String {
    format!(
        r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
process: {{maxBufferedBytes: 2MiB}}
wafProfiles:
- name: own
  rules: [{{inline: '{rules}'}}]
backends: [{{name: one, endpoints: [{{address: '{backend}'}}]}}]
routes: [{{name: any, policies: {{waf: {{profile: own}}}}, rules: [{{backends: [{{name: one}}]}}]}}]
"#
    )
}

/// A form with a long field.
fn request() -> String {
    let body = "x".repeat(BODY);
    format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\ntext={body}",
        BODY + 5
    )
}

/// The statuses of requests whose responses all stay open.
fn statuses(gateway: &Gateway) -> Vec<u16> {
    let request = request();
    let mut open = Vec::new();
    let statuses = (0..REQUESTS).map(|_| {
        let mut raw = Raw::connect(gateway.http());
        let head = raw.send(request.as_bytes()).read("HTTP/1.1 200".len());
        open.push(raw);
        status_of(&String::from_utf8_lossy(&head))
    });
    statuses.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_keeps_nothing_of_the_request_that_asked_for_it() {
    let never = Arc::new(Notify::new());
    let wait = never.clone();
    let backend = Scripted::start(move |mut line| {
        let wait = wait.clone();
        async move {
            line.head().await;
            line.body(BODY + 5).await;
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
                .await;
            wait.notified().await;
        }
    })
    .await;
    let rule = r#"SecRule ARGS "@contains marker7" "id:1,phase:2,deny""#;
    let gateway = Gateway::start(&config(backend.address, rule));
    assert_eq!(statuses(&gateway), vec![200; REQUESTS]);
    // Where a later rule reads the body it is kept, and counted.
    let late = rule.replace("phase:2", "phase:3");
    let gateway = Gateway::start(&config(backend.address, &late));
    let statuses = statuses(&gateway);
    assert!(statuses.contains(&503), "{statuses:?}");
    never.notify_waiters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_keeps_nothing_while_its_page_is_awaited() {
    let never = Arc::new(Notify::new());
    let wait = never.clone();
    let (asked, mut pages) = mpsc::unbounded_channel();
    let backend = Scripted::start(move |mut line| {
        let (wait, asked) = (wait.clone(), asked.clone());
        async move {
            line.head().await;
            let _ = asked.send(());
            wait.notified().await;
        }
    })
    .await;
    let rule = r#"SecRule ARGS "@contains xxx" "id:1,phase:2,deny""#;
    let config = config(backend.address, rule)
        .replace("policies: {", "policies: {errorPages: [asked], ")
        + "errorPages: [{name: asked, pages: [{statuses: [403], backend: {name: one, timeout: 30s}}]}]\n";
    let gateway = Gateway::start(&config);
    let request = request();
    let mut open = Vec::new();
    let mut before = 0;
    for number in 0..=WAITING {
        if number == WAITING / 4 {
            before = gateway.resident();
        }
        let mut raw = Raw::connect(gateway.http());
        raw.send(request.as_bytes());
        open.push(raw);
        // One that finds no memory is refused without that page.
        let page = tokio::time::timeout(Duration::from_secs(20), pages.recv()).await;
        assert!(page.is_ok(), "request {number} found no memory");
    }
    // What is kept of each is more than twice its body; the allocator keeps some 20 MiB for itself.
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < WAITING * BODY, "{} KiB", grown >> 10);
    never.notify_waiters();
}
