//! Rate limits and limits of a connection.

use std::net::SocketAddr;

use portcullis_tests::{Backend, Gateway, Raw, h2c, raw, status_of};

fn config(backend: &Backend, limit: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
clientAddress: {{trustedProxies: [127.0.0.1]}}
rateLimits: [{{name: some, {limit}}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
defaults: {{rateLimits: [some]}}
routes:
- {{name: first, hosts: [first.example], rules: [{{backends: [{{name: one}}]}}]}}
- {{name: second, hosts: [second.example], rules: [{{backends: [{{name: one}}]}}]}}
",
        backend.address
    )
}

fn answer(gateway: SocketAddr, host: &str, headers: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    raw(gateway, request.as_bytes())
}

fn statuses(gateway: &Gateway, requests: &[(&str, &str)]) -> Vec<u16> {
    requests
        .iter()
        .map(|(host, headers)| status_of(&answer(gateway.http(), host, headers)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_counts_by_its_key() {
    let backend = Backend::start("one").await;
    let of = |client: &'static str| ("first.example", client);
    const A: &str = "X-Forwarded-For: 192.0.2.1\r\n";
    const B: &str = "X-Forwarded-For: 192.0.2.2\r\n";
    const FAR: &str = "X-Forwarded-For: 198.51.100.1\r\n";
    const V6_A: &str = "X-Forwarded-For: 2001:db8:0:1::1\r\n";
    const V6_B: &str = "X-Forwarded-For: 2001:db8:0:1:ffff::2\r\n";
    const V6_FAR: &str = "X-Forwarded-For: 2001:db8:0:2::1\r\n";
    const KEY_X: &str = "X-Api-Key: x\r\n";
    const KEY_Y: &str = "X-Api-Key: y\r\n";
    for (limit, requests, expected) in [
        (
            "key: client",
            vec![of(A), of(A), of(A), of(B)],
            vec![200, 200, 429, 200],
        ),
        // One customer of an IPv6 network has a /64.
        (
            "key: client",
            vec![of(V6_A), of(V6_B), of(V6_A), of(V6_FAR)],
            vec![200, 200, 429, 200],
        ),
        (
            "key: {prefix: {v4: 24}}",
            vec![of(A), of(B), of(A), of(FAR)],
            vec![200, 200, 429, 200],
        ),
        (
            "key: {header: X-Api-Key}",
            vec![
                of(KEY_X),
                of(KEY_X),
                of(KEY_X),
                of(KEY_Y),
                // Without the header a client counts by its address, apart from others.
                of(A),
                of(A),
                of(A),
                of(B),
            ],
            vec![200, 200, 429, 200, 200, 200, 429, 200],
        ),
        (
            "key: route",
            vec![of(A), of(B), of(FAR), ("second.example", A)],
            vec![200, 200, 429, 200],
        ),
        (
            "mode: report",
            vec![of(A), of(A), of(A), of(A)],
            vec![200, 200, 200, 200],
        ),
    ] {
        let yaml = config(&backend, &format!("rate: 2/h, burst: 2, {limit}"));
        let gateway = Gateway::start(&yaml);
        assert_eq!(statuses(&gateway, &requests), expected, "{limit}");
        let denied = if limit == "mode: report" {
            "would_deny"
        } else {
            "deny"
        };
        let series =
            format!("portcullis_rate_limit_decisions_total{{limit=\"some\",verdict=\"{denied}\"}}");
        assert!(gateway.metric(&series).is_some_and(|n| n > 0.0), "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_when_to_come_back_and_counts_survive_a_reload() {
    let backend = Backend::start("one").await;
    let yaml = config(&backend, "rate: 6/m, burst: 2");
    let gateway = Gateway::start(&yaml);
    let get = || answer(gateway.http(), "first.example", "");
    assert_eq!([status_of(&get()), status_of(&get())], [200, 200]);
    let refused = get();
    assert_eq!(status_of(&refused), 429);
    let seconds: u64 = refused
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("retry-after: ")?.parse().ok())
        .expect("a number of seconds");
    assert!((1..=10).contains(&seconds), "{seconds}");
    gateway.reload(&format!("{yaml}# changed\n"));
    assert_eq!(status_of(&get()), 429, "a reload is no way around a limit");
    let series = r#"portcullis_refusals_total{reason="rate-limit",stage="limit"}"#;
    assert_eq!(gateway.metric(series), Some(2.0));
    // Another definition counts anew.
    gateway.reload(&config(&backend, "rate: 6/m, burst: 3"));
    assert_eq!(status_of(&get()), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn remembered_keys_are_bounded() {
    let backend = Backend::start("one").await;
    let yaml = config(
        &backend,
        "rate: 1/h, burst: 1, key: {header: X-Api-Key}, maxKeys: 50",
    );
    let gateway = Gateway::start(&yaml);
    let key = |n: u32| {
        let header = format!("X-Api-Key: {n}\r\n");
        status_of(&answer(gateway.http(), "first.example", &header))
    };
    for n in 0..200 {
        assert_eq!(key(n), 200, "{n}");
    }
    let remembered = (0..200).filter(|&n| key(n) == 429).count();
    assert!((1..=50).contains(&remembered), "{remembered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_connections_are_bounded() {
    let backend = Backend::start("one").await;
    let yaml = config(&backend, "rate: 1000/s").replace(
        "protocol: http,",
        "protocol: http, limits: {headerTimeout: 400ms, idleTimeout: 1s, maxHeaderSize: 4KiB, maxHeaders: 20, maxConnections: 5},",
    );
    let gateway = Gateway::start(&yaml);
    let big = format!("X-Big: {}\r\n", "a".repeat(5000));
    assert_eq!(
        status_of(&answer(gateway.http(), "first.example", &big)),
        431
    );
    let many: String = (0..21).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(
        status_of(&answer(gateway.http(), "first.example", &many)),
        431
    );
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: first.example\r\n\r\n",
        "a".repeat(5000)
    );
    assert_eq!(status_of(&raw(gateway.http(), long.as_bytes())), 431);

    // A head a byte at a time does not outlive its deadline.
    let mut slow = Raw::connect(gateway.http());
    for byte in b"GET / HTTP" {
        slow.send(&[*byte])
            .pause(std::time::Duration::from_millis(50));
    }
    assert!(slow.ends());
    let mut silent = Raw::connect(gateway.http());
    assert!(silent.ends());
    // Between requests the idle time counts.
    let mut idle = Raw::connect(gateway.http());
    idle.send(b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n");
    assert_eq!(status_of(&idle.response()), 200);
    idle.pause(std::time::Duration::from_millis(600));
    idle.send(b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n");
    assert_eq!(status_of(&idle.response()), 200, "idle, not late");
    assert!(idle.ends());

    let mut open: Vec<Raw> = (0..5)
        .map(|_| {
            let mut connection = Raw::connect(gateway.http());
            connection.send(b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n");
            assert_eq!(status_of(&connection.response()), 200);
            connection
        })
        .collect();
    let mut one_more = Raw::connect(gateway.http());
    one_more.send(b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n");
    assert_eq!(status_of(&one_more.response()), 0, "over maxConnections");
    open.truncate(1);
    portcullis_tests::wait_for("a free place", || {
        status_of(&answer(gateway.http(), "first.example", "")) == 200
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_may_not_take_every_connection() {
    let backend = Backend::start("one").await;
    let yaml = config(&backend, "rate: 1000/s").replace(
        "protocol: http,",
        "protocol: http, proxyProtocol: true, limits: {maxConnectionsPerAddress: 2},",
    );
    let gateway = Gateway::start(&yaml);
    let connect = |client: &str| {
        let mut connection = Raw::connect(gateway.http());
        let head = format!(
            "PROXY TCP4 {client} 192.0.2.250 1000 80\r\nGET / HTTP/1.1\r\nHost: first.example\r\n\r\n"
        );
        connection.send(head.as_bytes());
        let status = status_of(&connection.response());
        (connection, status)
    };
    let mut held = vec![connect("192.0.2.1"), connect("192.0.2.1")];
    assert!(held.iter().all(|(_, status)| *status == 200));
    assert_eq!(connect("192.0.2.1").1, 0, "a third of one client");
    assert_eq!(connect("192.0.2.2").1, 200, "another client");
    assert_eq!(
        gateway.metric(
            r#"portcullis_connections_total{listener="http",outcome="over_address_limit"}"#
        ),
        Some(1.0)
    );
    // The log names the client, once for many.
    assert_eq!(connect("192.0.2.1").1, 0);
    let log = gateway.log();
    let told = "a client has as many connections as maxConnectionsPerAddress allows";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(log.contains("client=192.0.2.1"), "{log}");
    held.clear();
    portcullis_tests::wait_for("a free place", || connect("192.0.2.1").1 == 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_last_request_by_count_and_by_age() {
    let backend = Backend::start("one").await;
    for (limit, requests) in [
        ("maxRequestsPerConnection: 3", 3),
        ("maxConnectionAge: 1s", 2),
    ] {
        let yaml = config(&backend, "rate: 1000/s").replace(
            "protocol: http,",
            &format!("protocol: http, limits: {{{limit}}},"),
        );
        let gateway = Gateway::start(&yaml);
        let by_age = limit.starts_with("maxConnectionAge");
        let mut client = Raw::connect(gateway.http());
        for n in 1..=requests {
            if by_age && n == requests {
                client.pause(std::time::Duration::from_millis(1100));
            }
            client.send(b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n");
            let answer = client.response();
            assert_eq!(status_of(&answer), 200, "{limit} {n}: {answer}");
            let closes = answer.to_lowercase().contains("connection: close");
            assert_eq!(closes, n == requests, "{limit} {n}: {answer}");
        }
        assert!(client.ends(), "{limit}");

        // Streams that are open go on, and the client learns to open no more.
        let mut client = h2c(gateway.http()).await;
        for n in 1..requests {
            let answer = client.get("first.example", "/").await.expect("an answer");
            assert_eq!(answer.status(), 200, "{limit} {n}");
            assert!(!client.is_closed(), "{limit} {n}");
        }
        if by_age {
            tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        }
        let answer = client
            .get("first.example", "/sse")
            .await
            .expect("an answer");
        assert_eq!(
            answer.body(),
            "data: 0\n\ndata: 1\n\ndata: 2\n\n",
            "{limit}"
        );
        portcullis_tests::wait_for("the end", || client.is_closed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_connections_end_when_the_process_does() {
    let backend = Backend::start("one").await;
    let yaml = config(&backend, "rate: 1000/s");
    let mut gateway = Gateway::start(&yaml);
    let mut client = h2c(gateway.http()).await;
    let answer = client.get("first.example", "/").await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut idle = h2c(gateway.http()).await;
    let answer = idle.get("first.example", "/").await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let waits = tokio::spawn(async move {
        let answer = client.get("first.example", "/sleep/700").await;
        (client, answer)
    });
    portcullis_tests::wait_for("the request", || backend.requests() == 3);
    gateway.signal("TERM");
    let (client, answer) = waits.await.expect("no panic");
    assert_eq!(answer.expect("an answer").status(), 200);
    portcullis_tests::wait_for("the end", || client.is_closed() && idle.is_closed());
    assert!(gateway.wait().success());
}
