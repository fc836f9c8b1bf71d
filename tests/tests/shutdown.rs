//! The end of the process: what is open finishes, within a time.

use std::time::{Duration, Instant};

use portcullis_tests::{Backend, Client, Gateway, Raw, status_of, wait_for};

fn config(backend: &Backend, drain: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
process: {{drainTimeout: {drain}}}
",
        backend.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_finishes_and_idle_connections_do_not_hold_it_up() {
    let backend = Backend::start("one").await;
    let mut gateway = Gateway::start(&config(&backend, "30s"));
    let (http, management) = (gateway.http(), gateway.at("management"));
    let mut idle = Client::h1(http).await;
    assert_eq!(
        idle.get("any.example", "/").await.expect("open").status(),
        200
    );
    let mut idle_h2 = portcullis_tests::h2c(http).await;
    assert_eq!(
        idle_h2
            .get("any.example", "/")
            .await
            .expect("open")
            .status(),
        200
    );
    let mut slow = Raw::connect(http);
    slow.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: any.example\r\n\r\n");
    wait_for("the request", || backend.requests() == 3);

    let started = Instant::now();
    gateway.signal("TERM");
    wait_for("the listener to close", || {
        std::net::TcpStream::connect(http).is_err()
    });
    // Whoever asks is told that it goes; the process is alive.
    let ready = Raw::connect(management)
        .send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .read_all();
    assert_eq!(status_of(&ready), 503, "{ready}");
    let answer = slow.response();
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert!(gateway.wait().success());
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_again_at_that_moment_is_answered_and_told_to_go() {
    let backend = Backend::start("one").await;
    let mut gateway = Gateway::start(&config(&backend, "30s"));
    let http = gateway.http();
    let mut client = Client::h1(http).await;
    let get = async |client: &mut Client| client.get("any.example", "/").await.expect("an answer");
    assert_eq!(get(&mut client).await.status(), 200);
    gateway.signal("TERM");
    wait_for("the listener to close", || {
        std::net::TcpStream::connect(http).is_err()
    });
    let answer = get(&mut client).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["connection"], "close");
    assert!(gateway.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_in_time_is_cut() {
    let backend = Backend::start("one").await;
    let mut gateway = Gateway::start(&config(&backend, "500ms"));
    let mut slow = Raw::connect(gateway.http());
    slow.send(b"GET /sleep/8000 HTTP/1.1\r\nHost: any.example\r\n\r\n");
    wait_for("the request", || backend.requests() == 1);
    let started = Instant::now();
    gateway.signal("TERM");
    let status = gateway.wait();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(status.code().is_some(), "{status:?}");
    assert!(gateway.log().contains("drain timeout"), "{}", gateway.log());
}
