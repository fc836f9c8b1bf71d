//! The choice of an endpoint: balancing, leaving out what fails, asking who is well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};

use portcullis_tests::{Backend, Gateway, Nobody, Raw, Scripted, raw, status_of, wait_for};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// A gateway with one backend of these endpoints.
fn gateway(endpoints: &[std::net::SocketAddr], settings: &str) -> Gateway {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| format!("{{address: {address}}}"))
        .collect();
    Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{}]{settings}}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        endpoints.join(", ")
    ))
}

fn up(gateway: &Gateway, endpoint: std::net::SocketAddr) -> Option<f64> {
    gateway.metric(&format!(
        r#"portcullis_endpoint_up{{backend="one",endpoint="{endpoint}"}}"#
    ))
}

/// Answers with a status that a test can change.
async fn switched(status: Arc<AtomicU16>) -> Scripted {
    Scripted::start(move |mut line| {
        let status = Arc::clone(&status);
        async move {
            while !line.head().await.is_empty() {
                let status = status.load(Ordering::Relaxed);
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                line.send(answer.as_bytes()).await;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_requests_in_flight_win() {
    // One endpoint is stuck with whatever it got; the other answers at once.
    let stuck = Scripted::start(|mut line| async move {
        line.head().await;
        tokio::time::sleep(Duration::from_secs(4)).await;
    })
    .await;
    let quick = Scripted::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway(&[stuck.address, quick.address], ", balance: least-requests");
    let mut waiting = Vec::new();
    while stuck.heads().is_empty() {
        let mut client = Raw::connect(gateway.http());
        client.send(GET).pause(Duration::from_millis(50));
        waiting.push(client);
    }
    let before = quick.heads().len();
    for _ in 0..20 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    assert_eq!(stuck.heads().len(), 1);
    assert_eq!(quick.heads().len(), before + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_left_out_and_taken_back() {
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let flaky = Scripted::start(move |mut line| {
        let broken = Arc::clone(&switch);
        async move {
            while !line.head().await.is_empty() && !broken.load(Ordering::Relaxed) {
                line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nflaky")
                    .await;
            }
        }
    })
    .await;
    let good = Backend::start("good").await;
    let gateway = gateway(
        &[flaky.address, good.address],
        ", ejection: {failures: 3, time: 1s}",
    );
    assert_eq!(up(&gateway, flaky.address), Some(1.0));
    // A GET is made again at the other endpoint.
    for _ in 0..20 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    assert_eq!(flaky.heads().len(), 3, "three, and then it is left out");
    assert_eq!(up(&gateway, flaky.address), Some(0.0));
    assert_eq!(up(&gateway, good.address), Some(1.0));
    broken.store(false, Ordering::Relaxed);
    wait_for("the endpoint to be asked again", || {
        raw(gateway.http(), GET).ends_with("flaky")
    });
    assert_eq!(up(&gateway, flaky.address), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_endpoints_are_never_left_out() {
    let broken = Scripted::start(|mut line| async move {
        line.head().await;
    })
    .await;
    let gateway = gateway(&[broken.address], ", ejection: {failures: 1, time: 60s}");
    for _ in 0..5 {
        // The endpoint is asked each time: a 502 and no 503.
        assert_eq!(status_of(&raw(gateway.http(), GET)), 502);
    }
    assert_eq!(broken.heads().len(), 5);
    assert_eq!(up(&gateway, broken.address), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_costs_no_request() {
    let gone = Nobody::here();
    let address = gone.address;
    let good = Backend::start("good").await;
    let gateway = gateway(&[address, good.address], "");
    for _ in 0..20 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    assert_eq!(up(&gateway, address), Some(0.0));
    let failed = gateway
        .metric(r#"portcullis_upstream_requests_total{backend="one",outcome="connect_failed"}"#);
    assert_eq!(failed, Some(5.0), "five, and then it is left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_says_it_is_unwell_takes_no_requests() {
    let status = Arc::new(AtomicU16::new(200));
    let watched = switched(Arc::clone(&status)).await;
    let good = Scripted::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway(
        &[watched.address, good.address],
        ", health: {path: '/healthz?deep', host: probe.internal, interval: 50ms, timeout: 1s, unhealthyAfter: 2}",
    );
    wait_for("the first questions", || watched.heads().len() > 2);
    let asked = &watched.heads()[0];
    assert!(
        asked.starts_with("GET /healthz?deep HTTP/1.1\r\nHost: probe.internal\r\n"),
        "{asked}"
    );
    assert_eq!(up(&gateway, watched.address), Some(1.0));
    status.store(503, Ordering::Relaxed);
    wait_for("the endpoint to be left out", || {
        up(&gateway, watched.address) == Some(0.0)
    });
    for _ in 0..10 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    let requests = |backend: &Scripted| {
        let heads = backend.heads();
        heads
            .iter()
            .filter(|head| head.starts_with("GET / "))
            .count()
    };
    assert_eq!(requests(&watched), 0);
    status.store(204, Ordering::Relaxed);
    wait_for("the endpoint to be taken back", || {
        up(&gateway, watched.address) == Some(1.0)
    });
    for _ in 0..10 {
        assert!(status_of(&raw(gateway.http(), GET)) < 300);
    }
    assert!(requests(&watched) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_enough_where_no_path_is_named_and_a_reload_ends_the_check() {
    let good = Backend::start("good").await;
    let gone = Nobody::here();
    let address = gone.address;
    let health = ", health: {interval: 50ms, unhealthyAfter: 1}";
    let gateway = gateway(&[address, good.address], health);
    wait_for("the endpoint to be left out", || {
        up(&gateway, address) == Some(0.0)
    });
    assert_eq!(up(&gateway, good.address), Some(1.0));
    let failed = r#"portcullis_upstream_requests_total{backend="one",outcome="connect_failed"}"#;
    for _ in 0..6 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    assert_eq!(gateway.metric(failed).unwrap_or(0.0), 0.0);
    let yaml = std::fs::read_to_string(gateway.folder().join("portcullis.yaml")).expect("the file");
    gateway.reload(&yaml.replace(health, ""));
    wait_for("the endpoint to be tried again", || {
        up(&gateway, address) == Some(1.0)
    });
    gateway.reload(&yaml.replace(&format!("{{address: {address}}}, "), ""));
    assert_eq!(up(&gateway, address), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_settings_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bad.yaml");
    let yaml = r"
listeners: [{name: http, protocol: http, address: '127.0.0.1:0'}]
backends:
- name: one
  endpoints: [{address: 127.0.0.1:1}]
  ejection: {maxEjected: 101, time: 0s}
  health: {path: healthz, interval: 0s, healthyAfter: 0}
- name: two
  endpoints: [{address: 127.0.0.1:1}]
  health: {host: a.example}
- name: three
  endpoints: [{address: 127.0.0.1:1}]
  balance: least-request
routes: []
";
    std::fs::write(&file, yaml).expect("writable");
    let output = std::process::Command::new(portcullis_tests::portcullis())
        .arg("check")
        .arg(&file)
        .output()
        .expect("the binary");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for said in [
        "least-requests",
        "maxEjected",
        "ejection.time",
        "health.path",
        "health.interval",
        "healthyAfter",
        "a host without a path",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_load_least_requests_goes_by_turn_and_weight() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let one = Scripted::answering(answer).await;
    let two = Scripted::answering(answer).await;
    let gateway = gateway(&[one.address, two.address], ", balance: least-requests");
    for _ in 0..20 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    assert_eq!((one.heads().len(), two.heads().len()), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_keepalive_gets_a_connection_for_each_request() {
    let backend = Scripted::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway(&[backend.address], ", keepalive: 0s");
    for _ in 0..3 {
        assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    }
    assert_eq!(backend.connections(), 3);
    assert!(backend.heads()[0].contains("\r\nConnection: close\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_acted_upon_is_not_sent_again() {
    let broken = Scripted::start(|mut line| async move {
        line.head().await;
    })
    .await;
    let good = Backend::start("good").await;
    let gateway = gateway(&[broken.address, good.address], ", ejection: {failures: 0}");
    let post =
        b"POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut statuses: Vec<_> = (0..4)
        .map(|_| status_of(&raw(gateway.http(), post)))
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!((broken.heads().len(), good.requests()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_load_leaves_no_series_of_what_it_would_have_had() {
    let backend = Backend::start("one").await;
    let config = |more: &str| {
        format!(
            r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends:
  - {{name: one, endpoints: [{{address: {}}}]}}
{more}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
            backend.address
        )
    };
    let gateway = Gateway::start(&config(""));
    gateway.write_config(&config(
        "  - {name: ghost, endpoints: [{address: 10.9.9.9:80}]}
  - {name: broken, endpoints: [{address: 10.9.9.8:80}], tls: {serverName: a, ca: missing.crt}}",
    ));
    wait_for("the refusal", || {
        gateway.metric(r#"portcullis_reloads_total{outcome="refused"}"#) == Some(1.0)
    });
    let (_, metrics) = gateway.management("/metrics");
    for gone in ["ghost", "broken", "10.9.9.9", "10.9.9.8"] {
        assert!(!metrics.contains(gone), "{gone}");
    }
    assert!(metrics.contains(&backend.address.to_string()));
    assert_eq!(status_of(&raw(gateway.http(), GET)), 200);
    // And one that serves no more leaves none either.
    gateway.reload(&config(
        "  - {name: ghost, endpoints: [{address: 10.9.9.9:80}]}",
    ));
    wait_for("its series", || {
        gateway.management("/metrics").1.contains("ghost")
    });
    gateway.reload(&config(""));
    assert!(!gateway.management("/metrics").1.contains("ghost"));
}
