//! Who is well, who is quick, and who is new.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use portcullis_tests::{
    Backend, Gateway, GrpcHealth, Scripted, one_backend, raw, status_of, wait_for,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn up(gateway: &Gateway, endpoint: SocketAddr) -> bool {
    let series = format!(r#"portcullis_endpoint_up{{backend="one",endpoint="{endpoint}"}}"#);
    gateway.metric(&series) == Some(1.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_server_is_asked_for_its_service() {
    let server = GrpcHealth::start().await;
    server.set("shop.v1.Cart", true).await;
    let health = |grpc: &str| {
        format!(
            "protocol: http2, health: {{interval: 100ms, timeout: 2s, unhealthyAfter: 1, grpc: {grpc}}}"
        )
    };
    let whole = Gateway::start(&one_backend(&[server.address], &health("{}")));
    let cart = Gateway::start(&one_backend(
        &[server.address],
        &health("{service: shop.v1.Cart}"),
    ));
    let unknown = Gateway::start(&one_backend(
        &[server.address],
        &health("{service: shop.v1.Pay}"),
    ));
    wait_for("the unknown service", || !up(&unknown, server.address));
    assert!(unknown.log().contains("grpc-status 5"), "{}", unknown.log());
    server.set("shop.v1.Cart", false).await;
    wait_for("the service to be unwell", || !up(&cart, server.address));
    assert!(cart.log().contains("NOT_SERVING"), "{}", cart.log());
    assert!(up(&whole, server.address));
    server.set("shop.v1.Cart", true).await;
    wait_for("the service to be well", || up(&cart, server.address));
    server.set("", false).await;
    wait_for("the server to be unwell", || !up(&whole, server.address));
    server.set("shop.v1.Pay", true).await;
    wait_for("the service to be known", || up(&unknown, server.address));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_speak_grpc_is_unwell() {
    let plain = Backend::start("one").await;
    let health = "protocol: http2, health: {interval: 100ms, unhealthyAfter: 1, grpc: {}}";
    let gateway = Gateway::start(&one_backend(&[plain.address], health));
    wait_for("the endpoint to be unwell", || !up(&gateway, plain.address));
    assert!(
        gateway.log().contains("no grpc-status"),
        "{}",
        gateway.log()
    );
    // It is the only one, so that requests go there all the same.
    assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    let asked = plain.seen();
    let question = asked
        .iter()
        .find(|seen| seen.method == "POST")
        .expect("a question");
    assert_eq!(question.target, "/grpc.health.v1.Health/Check");
    assert_eq!(question.header("content-type"), "application/grpc");
    assert_eq!(question.header("te"), "trailers");
    assert_eq!(question.body_len, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_not_asked_all_at_one_moment() {
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let mut endpoints = Vec::new();
    for _ in 0..16 {
        let asked = Arc::clone(&asked);
        endpoints.push(
            Scripted::start(move |mut line| {
                let asked = Arc::clone(&asked);
                async move {
                    line.head().await;
                    asked.lock().expect("not poisoned").push(Instant::now());
                    line.send(GOOD.as_bytes()).await;
                }
            })
            .await,
        );
    }
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    let health = "health: {path: /, interval: 30s}";
    let _gateway = Gateway::start(&one_backend(&addresses, health));
    wait_for("every endpoint to be asked", || {
        asked.lock().expect("not poisoned").len() == 16
    });
    let asked = asked.lock().expect("not poisoned");
    let spread = asked.iter().max().zip(asked.iter().min());
    let spread = spread.map(|(last, first)| *last - *first).expect("some");
    assert!(spread > Duration::from_millis(500), "{spread:?} of 3 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_endpoints_get_more_than_slow_ones() {
    let slow = Scripted::start(|mut line| async move {
        while !line.head().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            line.send(GOOD.as_bytes()).await;
        }
    })
    .await;
    let quick = Scripted::answering(GOOD).await;
    let gateway = Gateway::start(&one_backend(
        &[slow.address, quick.address],
        "balance: peak-ewma",
    ));
    for _ in 0..40 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    // Once, to find out; and then in seconds again.
    assert!(
        (1..=4).contains(&slow.heads().len()),
        "{}",
        slow.heads().len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_counts_as_slowness() {
    let silent = Scripted::start(|mut line| async move {
        line.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let quick = Scripted::answering(GOOD).await;
    let config = one_backend(&[silent.address, quick.address], "balance: peak-ewma")
        + "defaults: {timeouts: {read: 300ms}}\n";
    let gateway = Gateway::start(&config);
    let failed = (0..30)
        .filter(|_| status_of(&raw(gateway.http(), GET)) == 504)
        .count();
    assert!((1..=3).contains(&failed), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_gets_its_share_little_by_little() {
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let settings = "slowStart: 6s, keepalive: 60s";
    let gateway = Gateway::start(&one_backend(&[old.address], settings));
    // The old one has all of its share by then.
    tokio::time::sleep(Duration::from_secs(6)).await;
    gateway.reload(&one_backend(&[old.address, new.address], settings));
    let share = |requests: usize| {
        let before = new.requests();
        for _ in 0..requests {
            assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
        }
        (new.requests() - before) as f64 / requests as f64
    };
    let first = share(60);
    assert!(first < 0.35, "{first}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let last = share(60);
    assert!((0.45..=0.55).contains(&last), "{last}");
}
