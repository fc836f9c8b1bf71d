//! Time limits of requests and attempts, and what is tried again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portcullis_tests::{
    Authority, Backend, Gateway, Nobody, Raw, Recorder, Scripted, raw, status_of, wait_for,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
const POST: &[u8] =
    b"POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
const UNAVAILABLE: &str =
    "HTTP/1.1 503 Service Unavailable\r\nX-From: backend\r\nContent-Length: 4\r\n\r\nbusy";

/// A gateway with one backend of these endpoints, and policies.
fn gateway(endpoints: &[SocketAddr], backend: &str, policies: &str) -> Gateway {
    Gateway::start(&config(endpoints, backend, policies))
}

fn config(endpoints: &[SocketAddr], backend: &str, policies: &str) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| format!("{{address: {address}}}"))
        .collect();
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{}]{backend}}}]
wafProfiles: [{{name: any}}]
defaults: {{{policies}}}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        endpoints.join(", ")
    )
}

/// Reads requests and never answers.
async fn silent() -> Scripted {
    Scripted::start(|mut line| async move {
        while !line.head().await.is_empty() {
            std::future::pending::<()>().await;
        }
    })
    .await
}

fn reason(response: &str) -> &str {
    response
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: "))
        .unwrap_or_default()
}

fn retries(gateway: &Gateway, outcome: &str) -> Option<f64> {
    gateway.metric(&format!(
        r#"portcullis_upstream_retries_total{{backend="one",outcome="{outcome}"}}"#
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_in_its_time_whatever_the_backend_does() {
    let silent = silent().await;
    let gateway = gateway(
        &[silent.address],
        "",
        "timeouts: {request: 300ms}, retries: {on: [timeout]}",
    );
    let start = Instant::now();
    let response = raw(gateway.http(), GET);
    assert!(start.elapsed() >= Duration::from_millis(290));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(status_of(&response), 504);
    assert_eq!(reason(&response), "upstream/request-timeout");
    assert_eq!(silent.heads().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_request_holds_for_its_attempts_together() {
    let (one, two) = (silent().await, silent().await);
    let gateway = gateway(
        &[one.address, two.address],
        "",
        "timeouts: {request: 500ms, backendRequest: 200ms}, retries: {attempts: 9, on: [timeout]}",
    );
    let start = Instant::now();
    let response = raw(gateway.http(), GET);
    assert!(start.elapsed() < Duration::from_secs(5));
    // Both were asked, and then there is no other.
    assert_eq!(reason(&response), "upstream/attempt-timeout");
    assert_eq!((one.heads().len(), two.heads().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_is_cut_and_not_made_whole() {
    let trickle = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            .await;
        loop {
            line.send(b"drop").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let gateway = gateway(&[trickle.address], "", "timeouts: {request: 400ms}");
    let start = Instant::now();
    let response = raw(gateway.http(), GET);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(status_of(&response), 200);
    assert!(response.len() < 50_000);
    wait_for("the access log", || !gateway.access_lines().is_empty());
    let line = &gateway.access_lines()[0];
    assert_eq!(line["status"], 200);
    assert_eq!(line["reason"], "request-timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_outlives_the_time_of_its_request() {
    let echo = Scripted::start(|mut line| async move {
        line.head().await;
        line.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        line.send(b"still here").await;
    })
    .await;
    let gateway = gateway(&[echo.address], "", "timeouts: {request: 300ms}");
    let response = raw(
        gateway.http(),
        b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    );
    assert!(response.ends_with("still here"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_held_counts_to_the_time_of_its_request() {
    let backend = Backend::start("one").await;
    let gateway = gateway(
        &[backend.address],
        "",
        "timeouts: {request: 400ms}, waf: {profile: any}",
    );
    let start = Instant::now();
    let mut client = Raw::connect(gateway.http());
    client.send(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100\r\n\r\nab");
    let response = client.read_all();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(reason(&response), "body/client-too-slow");
    assert_eq!(backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_without_an_answer_goes_on_at_another_endpoint() {
    let (silent, good) = (silent().await, Scripted::answering(GOOD).await);
    let gateway = gateway(
        &[silent.address, good.address],
        "",
        "timeouts: {backendRequest: 200ms}, retries: {on: [timeout]}",
    );
    for _ in 0..4 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    assert_eq!(silent.heads().len(), 2);
    assert_eq!(retries(&gateway, "sent"), Some(2.0));
    // What may have been acted upon is not sent twice.
    let mut reasons: Vec<_> = (0..2)
        .map(|_| reason(&raw(gateway.http(), POST)).to_owned())
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["", "upstream/attempt-timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_tried_again_only_where_that_is_asked_for() {
    let (silent, good) = (silent().await, Scripted::answering(GOOD).await);
    let gateway = gateway(
        &[silent.address, good.address],
        "",
        "timeouts: {read: 200ms}",
    );
    let mut statuses: Vec<_> = (0..2)
        .map(|_| status_of(&raw(gateway.http(), GET)))
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_tried_again_where_that_is_safe() {
    let (busy, good) = (
        Scripted::answering(UNAVAILABLE).await,
        Scripted::answering(GOOD).await,
    );
    let gateway = gateway(
        &[busy.address, good.address],
        "",
        "retries: {statuses: [502-503]}",
    );
    for _ in 0..6 {
        let response = raw(gateway.http(), GET);
        assert!(response.ends_with("good"), "{response}");
        assert!(!response.contains("X-From"));
    }
    assert_eq!(busy.heads().len(), 3);
    let mut statuses: Vec<_> = (0..4)
        .map(|_| status_of(&raw(gateway.http(), POST)))
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_all_endpoints_give_is_passed_on_as_it_is() {
    let (one, two) = (
        Scripted::answering(UNAVAILABLE).await,
        Scripted::answering(UNAVAILABLE).await,
    );
    let gateway = gateway(
        &[one.address, two.address],
        "",
        "retries: {attempts: 5, statuses: [503]}",
    );
    let response = raw(gateway.http(), GET);
    assert_eq!(status_of(&response), 503);
    assert!(response.contains("X-From: backend") && response.ends_with("busy"));
    assert_eq!((one.heads().len(), two.heads().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_sent_again_whole() {
    let busy = Scripted::start(|mut line| async move {
        line.head().await;
        line.body(5).await;
        line.send(UNAVAILABLE.as_bytes()).await;
    })
    .await;
    let good = Backend::start("good").await;
    let gateway = gateway(
        &[busy.address, good.address],
        "",
        "retries: {statuses: [503]}",
    );
    let put =
        b"PUT / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    for _ in 0..2 {
        assert_eq!(status_of(&raw(gateway.http(), put)), 200);
        assert_eq!(good.last().body_sha256, portcullis_tests::sha256(b"hello"));
    }
    assert_eq!(busy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_an_outage_stay_within_their_budget() {
    let closing = || {
        Scripted::start(|mut line| async move {
            line.head().await;
        })
    };
    let (one, two) = (closing().await, closing().await);
    let gateway = gateway(
        &[one.address, two.address],
        ", ejection: {failures: 0}, retryBudget: {percent: 20, minPerSecond: 0}",
        "",
    );
    for _ in 0..50 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 502);
    }
    let sent = retries(&gateway, "sent").unwrap_or_default();
    assert!((8.0..=10.0).contains(&sent), "{sent}");
    assert_eq!(retries(&gateway, "over_budget"), Some(50.0 - sent));
    assert_eq!(one.heads().len() + two.heads().len(), 50 + sent as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_tried_again_where_that_is_turned_off() {
    let gone = Nobody::here();
    let address = gone.address;
    let good = Scripted::answering(GOOD).await;
    for policies in ["retries: {attempts: 0}", "retries: {on: []}"] {
        let gateway = gateway(&[address, good.address], "", policies);
        let mut statuses: Vec<_> = (0..4)
            .map(|_| status_of(&raw(gateway.http(), GET)))
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 502, 502], "{policies}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_not_blamed_for_a_request_that_has_no_time_left() {
    // It takes connections and never answers a handshake.
    let mute = Recorder::start().await;
    let settings = ", tls: {serverName: a.internal, ca: ca.crt}, ejection: {failures: 1, time: 60s, maxEjected: 100}";
    let up = format!(
        r#"portcullis_endpoint_up{{backend="one",endpoint="{}"}}"#,
        mute.address
    );
    for (timeouts, expected, is_up) in [
        ("{request: 300ms}", "upstream/request-timeout", 1.0),
        ("{backendRequest: 300ms}", "upstream/attempt-timeout", 0.0),
        ("{connect: 300ms}", "upstream/connect-timeout", 0.0),
    ] {
        let policies = format!("timeouts: {timeouts}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("ca.crt"), Authority::new().pem()).expect("writable");
        let config = config(&[mute.address], settings, &policies);
        let gateway = Gateway::start_in(folder, &config, &[]);
        assert_eq!(reason(&raw(gateway.http(), GET)), expected);
        assert_eq!(gateway.metric(&up), Some(is_up), "{timeouts}");
    }
}
