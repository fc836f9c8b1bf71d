//! What a backend is given at once: requests, connections, and who waits.

use std::{thread, time::Duration};

use portcullis_tests::{Backend, Gateway, Raw, Scripted, one_backend, raw, status_of, wait_for};

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").into_bytes()
}

fn reason(response: &str) -> &str {
    response
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: "))
        .unwrap_or_default()
}

fn gauge(gateway: &Gateway, name: &str) -> f64 {
    let series = format!(r#"portcullis_upstream_{name}{{backend="one"}}"#);
    gateway.metric(&series).unwrap_or_default()
}

/// Sends a request and leaves its answer for later.
fn begin(gateway: &Gateway, path: &str) -> Raw {
    let mut client = Raw::connect(gateway.http());
    client.send(&get(path));
    client
}

/// Begins requests that wait, one behind the other.
fn queue_up(gateway: &Gateway, paths: &[String]) -> Vec<Raw> {
    let before = gauge(gateway, "pending");
    let mut clients = Vec::new();
    for path in paths {
        clients.push(begin(gateway, path));
        let waiting = before + clients.len() as f64;
        wait_for("the request to wait", || {
            gauge(gateway, "pending") == waiting
        });
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_wait_and_those_over_the_queue_are_refused_at_once() {
    let backend = Backend::start("one").await;
    let limits = "limits: {maxRequests: 2, maxPending: 1, pendingTimeout: 10s}";
    let gateway = Gateway::start(&one_backend(&[backend.address], limits));
    let mut first = [
        begin(&gateway, "/sleep/1500"),
        begin(&gateway, "/sleep/1500"),
    ];
    wait_for("both", || backend.requests() == 2);
    let mut third = queue_up(&gateway, &["/third".into()]);
    let refused = raw(gateway.http(), &get("/fourth"));
    assert_eq!(status_of(&refused), 503);
    assert_eq!(reason(&refused), "upstream/overloaded");
    assert_eq!(backend.requests(), 2, "nothing came of it");
    assert_eq!(status_of(&third[0].read_all()), 200);
    for client in &mut first {
        assert_eq!(status_of(&client.read_all()), 200);
    }
    assert_eq!(gauge(&gateway, "pending"), 0.0);
    assert_eq!(status_of(&raw(gateway.http(), &get("/after"))), 200);
    let refusals =
        gateway.metric(r#"portcullis_refusals_total{reason="overloaded",stage="upstream"}"#);
    assert_eq!(refusals, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_too_long_is_refused() {
    let backend = Backend::start("one").await;
    let limits = "limits: {maxRequests: 1, pendingTimeout: 200ms}";
    let gateway = Gateway::start(&one_backend(&[backend.address], limits));
    let mut first = begin(&gateway, "/sleep/1500");
    wait_for("the first", || backend.requests() == 1);
    let refused = raw(gateway.http(), &get("/second"));
    assert_eq!(status_of(&refused), 503);
    assert_eq!(reason(&refused), "upstream/pending-timeout");
    assert_eq!(status_of(&first.read_all()), 200);
    assert_eq!(status_of(&raw(gateway.http(), &get("/third"))), 200);
    assert_eq!(backend.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_first_is_served_first() {
    let backend = Backend::start("one").await;
    let limits = "limits: {maxRequests: 1, pendingTimeout: 60s}";
    let gateway = Gateway::start(&one_backend(&[backend.address], limits));
    let mut first = begin(&gateway, "/sleep/2500");
    wait_for("the first", || backend.requests() == 1);
    let paths: Vec<_> = (0..6).map(|n| format!("/{n}")).collect();
    let mut waiting = queue_up(&gateway, &paths);
    assert_eq!(backend.requests(), 1);
    assert_eq!(status_of(&first.read_all()), 200);
    for client in &mut waiting {
        assert_eq!(status_of(&client.read_all()), 200);
    }
    let served: Vec<_> = backend
        .seen()
        .into_iter()
        .skip(1)
        .map(|s| s.target)
        .collect();
    assert_eq!(served, paths);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_gives_up_its_place_in_the_queue() {
    let backend = Backend::start("one").await;
    let limits = "limits: {maxRequests: 1, maxPending: 1, pendingTimeout: 60s}";
    let gateway = Gateway::start(&one_backend(&[backend.address], limits));
    let mut first = begin(&gateway, "/sleep/2000");
    wait_for("the first", || backend.requests() == 1);
    drop(queue_up(&gateway, &["/gone".into()]));
    wait_for("the place in the queue", || {
        gauge(&gateway, "pending") == 0.0
    });
    let mut third = queue_up(&gateway, &["/third".into()]);
    assert_eq!(status_of(&first.read_all()), 200);
    assert_eq!(status_of(&third[0].read_all()), 200);
    let targets: Vec<_> = backend.seen().into_iter().map(|s| s.target).collect();
    assert_eq!(targets, ["/sleep/2000", "/third"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_counts_to_the_time_of_a_request() {
    let backend = Backend::start("one").await;
    let limits = "limits: {maxRequests: 1, pendingTimeout: 60s}";
    let config = one_backend(&[backend.address], limits).replace(
        "rules: [{",
        "rules: [{matches: [{path: {prefix: /quick}}], policies: {timeouts: {request: 300ms}}, backends: [{name: one}]}, {",
    );
    let gateway = Gateway::start(&config);
    let mut first = begin(&gateway, "/sleep/1500");
    wait_for("the first", || backend.requests() == 1);
    let second = raw(gateway.http(), &get("/quick"));
    assert_eq!(reason(&second), "upstream/request-timeout");
    assert_eq!(status_of(&first.read_all()), 200);
    assert_eq!(backend.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_http2_count_as_requests() {
    let backend = Backend::start("one").await;
    let limits = "protocol: http2, limits: {maxRequests: 2, maxPending: 0}";
    let gateway = Gateway::start(&one_backend(&[backend.address], limits));
    let mut first = [
        begin(&gateway, "/sleep/1000"),
        begin(&gateway, "/sleep/1000"),
    ];
    wait_for("both", || backend.requests() == 2);
    assert_eq!(status_of(&raw(gateway.http(), &get("/third"))), 503);
    for client in &mut first {
        assert_eq!(status_of(&client.read_all()), 200);
    }
    assert_eq!(status_of(&raw(gateway.http(), &get("/third"))), 200);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_keeps_its_place_until_it_ends() {
    let echo = Scripted::start(|mut line| async move {
        if line.head().await.contains("Upgrade: echo") {
            line.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
            )
            .await;
            line.body(1).await;
        } else {
            line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let limits = "limits: {maxRequests: 1, maxPending: 0}";
    let gateway = Gateway::start(&one_backend(&[echo.address], limits));
    let mut upgraded = Raw::connect(gateway.http());
    upgraded
        .send(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    wait_for("the upgrade", || !echo.heads().is_empty());
    assert_eq!(status_of(&raw(gateway.http(), &get("/"))), 503);
    assert_eq!(gauge(&gateway, "connections_open"), 1.0);
    upgraded.send(b"x").read_all();
    drop(upgraded);
    wait_for("the place", || {
        status_of(&raw(gateway.http(), &get("/"))) == 200
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_makes_room_for_one_that_is_needed() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let settings = "keepalive: 60s, limits: {maxConnections: 1, maxPending: 5}";
    let gateway = Gateway::start(&one_backend(&[one.address, two.address], settings));
    for _ in 0..6 {
        assert_eq!(status_of(&raw(gateway.http(), &get("/"))), 200);
        assert_eq!(gauge(&gateway, "connections_open"), 1.0);
    }
    assert_eq!((one.connections(), two.connections()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_http2_have_a_limit() {
    let backend = Backend::start("one").await;
    let settings = "protocol: http2, limits: {maxConnections: 1}, ejection: {failures: 1, time: 60s, maxEjected: 100}";
    let gateway = Gateway::start(&one_backend(&[backend.address], settings));
    let mut clients: Vec<_> = (0..100).map(|_| begin(&gateway, "/sleep/3000")).collect();
    wait_for("a hundred", || backend.requests() == 100);
    let refused = raw(gateway.http(), &get("/"));
    assert_eq!(reason(&refused), "upstream/overloaded");
    let up = format!(
        r#"portcullis_endpoint_up{{backend="one",endpoint="{}"}}"#,
        backend.address
    );
    assert_eq!(gateway.metric(&up), Some(1.0), "our limit is not its fault");
    for client in &mut clients {
        assert_eq!(status_of(&client.read_all()), 200);
    }
    assert_eq!(status_of(&raw(gateway.http(), &get("/"))), 200);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_limit_for_those_who_wait() {
    let backend = Backend::start("one").await;
    let limits = |requests| format!("limits: {{maxRequests: {requests}, pendingTimeout: 60s}}");
    let gateway = Gateway::start(&one_backend(&[backend.address], &limits(1)));
    let mut first = begin(&gateway, "/sleep/4000");
    wait_for("the first", || backend.requests() == 1);
    let mut second = queue_up(&gateway, &["/second".into()]);
    gateway.reload(&one_backend(&[backend.address], &limits(2)));
    assert_eq!(status_of(&second[0].read_all()), 200);
    // What is in flight counts still, and fewer places hurt nobody.
    gateway.reload(&one_backend(&[backend.address], &limits(1)));
    let mut third = queue_up(&gateway, &["/third".into()]);
    assert_eq!(status_of(&first.read_all()), 200);
    assert_eq!(status_of(&third[0].read_all()), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_never_exceeds_the_limit_and_is_served_whole() {
    let backend = Backend::start("one").await;
    let settings = "keepalive: 60s, limits: {maxConnections: 3}";
    let gateway = Gateway::start(&one_backend(&[backend.address], settings));
    let address = gateway.http();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                (0..25)
                    .filter(|_| status_of(&raw(address, &get("/sleep/2"))) == 200)
                    .count()
            })
        })
        .collect();
    while !clients.iter().all(thread::JoinHandle::is_finished) {
        assert!(gauge(&gateway, "connections_open") <= 3.0);
        thread::sleep(Duration::from_millis(20));
    }
    let served: usize = clients
        .into_iter()
        .map(|c| c.join().expect("no panic"))
        .sum();
    assert_eq!(served, 200);
}
