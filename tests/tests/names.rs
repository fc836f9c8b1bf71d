//! Endpoints that are named: found, followed, and kept when the DNS fails.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portcullis_tests::{Backend, Dns, Gateway, Raw, raw, status_of, wait_for};

const NAME: &str = "shop.internal";

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").into_bytes()
}

/// The configuration of a gateway whose backend is named.
fn config(dns: &Dns, port: u16, settings: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
resolver: {{servers: ['{}'], timeout: 500ms, minTtl: 200ms}}
backends: [{{name: one, endpoints: [{{address: '{NAME}:{port}'}}]{settings}}}]
defaults: {{timeouts: {{connect: 1s}}}}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        dns.address
    )
}

fn reason(response: &str) -> &str {
    response
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: "))
        .unwrap_or_default()
}

/// Backends at 127.0.0.1 and 127.0.0.2, with one port.
async fn two() -> (Backend, Backend, u16) {
    loop {
        let one = Backend::start("one").await;
        let port = one.address.port();
        let other = SocketAddr::from(([127, 0, 0, 2], port));
        if let Some(two) = Backend::start_at("two", other).await {
            return (one, two, port);
        }
    }
}

fn ask(gateway: &Gateway) -> String {
    raw(gateway.http(), &get("/"))
}

fn endpoints(gateway: &Gateway) -> usize {
    let (_, text) = gateway.management("/metrics");
    text.matches("portcullis_endpoint_up{").count()
}

fn look_ups(gateway: &Gateway, outcome: &str) -> f64 {
    let series =
        format!(r#"portcullis_upstream_look_ups_total{{backend="one",outcome="{outcome}"}}"#);
    gateway.metric(&series).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_stands_for_its_addresses_and_is_followed() {
    let (one, two, port) = two().await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 0);
    let gateway = Gateway::start(&config(&dns, port, ", keepalive: 60s"));
    for _ in 0..3 {
        assert!(ask(&gateway).ends_with("one /"));
    }
    assert_eq!(endpoints(&gateway), 1);
    dns.set(NAME, &["127.0.0.1", "127.0.0.2"], 0);
    wait_for("the second", || ask(&gateway).ends_with("two /"));
    assert_eq!(endpoints(&gateway), 2);
    assert!(ask(&gateway).ends_with("one /"), "in turn");
    dns.set(NAME, &["127.0.0.2"], 0);
    wait_for("the first to go", || endpoints(&gateway) == 1);
    let before = one.requests();
    for _ in 0..4 {
        assert!(ask(&gateway).ends_with("two /"));
    }
    assert_eq!(one.requests(), before);
    // Its idle connection is closed, and that of the other is not.
    let open = gateway.metric(r#"portcullis_upstream_connections_open{backend="one"}"#);
    assert_eq!(open, Some(1.0));
    assert_eq!((one.connections(), two.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_outlives_its_address() {
    let (one, two, port) = two().await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.2"], 0);
    let gateway = Gateway::start(&config(&dns, port, ", keepalive: 60s"));
    assert!(ask(&gateway).ends_with("two /"));
    let mut client = Raw::connect(gateway.http());
    client.send(&get("/sleep/2000"));
    wait_for("the request", || two.requests() == 2);
    dns.set(NAME, &["127.0.0.1"], 0);
    wait_for("the first", || ask(&gateway).ends_with("one /"));
    let response = client.read_all();
    assert!(response.ends_with("two /sleep/2000"), "{response}");
    // Its connection is not kept: nobody would use it.
    wait_for("the end of its connection", || {
        gateway.metric(r#"portcullis_upstream_connections_open{backend="one"}"#) == Some(1.0)
    });
    assert!(one.requests() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_answer_outlives_failures_and_reloads() {
    let (_one, two, port) = two().await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 0);
    let gateway = Gateway::start(&config(&dns, port, ""));
    assert_eq!(status_of(&ask(&gateway)), 200);
    for (seconds, what, broken) in [
        (7, "failure", Dns::fail as fn(&Dns, &str)),
        (8, "silence", Dns::silence),
        (9, "no such name", Dns::remove),
    ] {
        let before = look_ups(&gateway, "failed");
        broken(&dns, NAME);
        wait_for(what, || look_ups(&gateway, "failed") > before);
        assert!(ask(&gateway).ends_with("one /"), "{what}");
        // A reload begins with what is known.
        let keepalive = format!(", keepalive: {seconds}s");
        gateway.reload(&config(&dns, port, &keepalive));
        assert!(ask(&gateway).ends_with("one /"), "{what}");
        dns.set(NAME, &["127.0.0.1"], 0);
        let before = look_ups(&gateway, "answered");
        wait_for("an answer", || look_ups(&gateway, "answered") > before);
    }
    dns.set(NAME, &["127.0.0.2"], 0);
    wait_for("the other address", || {
        two.requests() > 0 || ask(&gateway).ends_with("two /")
    });
    assert!(gateway.log().contains("its last addresses stay"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_first_answer_and_not_forever() {
    let backend = Backend::start("one").await;
    let dns = Dns::start().await;
    let gateway = Gateway::start(&config(&dns, backend.address.port(), ""));
    let start = Instant::now();
    let response = ask(&gateway);
    assert_eq!(status_of(&response), 503);
    assert_eq!(reason(&response), "upstream/unresolved");
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert!(start.elapsed() < Duration::from_secs(5));

    dns.set(NAME, &["127.0.0.1"], 0);
    wait_for("the name", || status_of(&ask(&gateway)) == 200);

    // A gateway whose server is slow to know of the name.
    let late = Dns::start().await;
    late.silence(NAME);
    let gateway = Gateway::start(
        &config(&late, backend.address.port(), "").replace("connect: 1s", "connect: 10s"),
    );
    let mut client = Raw::connect(gateway.http());
    client.send(&get("/"));
    wait_for("a query", || late.queries() > 0);
    late.set(NAME, &["127.0.0.1"], 0);
    assert_eq!(status_of(&client.read_all()), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_its_time_within_bounds() {
    let backend = Backend::start("one").await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 3600);
    let gateway = Gateway::start(&config(&dns, backend.address.port(), ""));
    assert_eq!(status_of(&ask(&gateway)), 200);
    let asked = dns.queries();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(dns.queries(), asked, "an hour is not over");
    dns.set(NAME, &["127.0.0.1"], 0);
    let bounded = config(&dns, backend.address.port(), "")
        .replace("minTtl: 200ms", "minTtl: 400ms, maxTtl: 500ms");
    gateway.reload(&bounded);
    let asked = dns.queries();
    tokio::time::sleep(Duration::from_millis(2000)).await;
    let more = dns.queries() - asked;
    assert!((2..=6).contains(&more), "{more}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_addresses_than_are_used_are_told_of() {
    let backend = Backend::start("one").await;
    let dns = Dns::start().await;
    let many: Vec<_> = (0..1100)
        .map(|n| format!("127.1.{}.{}", n / 250, n % 250 + 1))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    dns.set(NAME, &many, 60);
    let gateway = Gateway::start(&config(&dns, backend.address.port(), ""));
    // They are told of one by one.
    wait_for("the addresses", || endpoints(&gateway) >= 1024);
    assert_eq!(endpoints(&gateway), 1024);
    assert!(gateway.log().contains("too many addresses"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_others_choose_reaches_nothing_on_the_machine_itself() {
    let (one, _two, port) = two().await;
    let dns = Dns::start().await;
    let refusing = ", localAddresses: false";
    for address in [
        "127.0.0.1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
    ] {
        dns.set(NAME, &[address], 0);
        let gateway = Gateway::start(&config(&dns, port, refusing));
        let response = ask(&gateway);
        assert_eq!(status_of(&response), 503, "{address}: {response}");
        assert_eq!(reason(&response), "upstream/unresolved", "{address}");
        assert!(gateway.log().contains("no name of this backend may have"));
        assert!(look_ups(&gateway, "failed") > 0.0);
        // What was answered before does not stay when the settings judge it.
        gateway.reload(&config(&dns, port, ""));
        wait_for("the settings to allow it", || {
            address.contains(':') || status_of(&ask(&gateway)) == 200
        });
        gateway.reload(&config(&dns, port, refusing));
        wait_for("the settings to refuse it", || {
            status_of(&ask(&gateway)) == 503
        });
    }
    let before = one.requests();
    dns.set(NAME, &["127.0.0.1", "192.0.2.1"], 0);
    let gateway = Gateway::start(&config(&dns, port, refusing));
    assert_ne!(status_of(&ask(&gateway)), 200, "the other is left");
    assert_eq!(one.requests(), before);
    assert_eq!(endpoints(&gateway), 1);
}
