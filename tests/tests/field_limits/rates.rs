//! Rate limits: their status, their wait, their keys.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Gateway, Raw, check, h2c, status_of, wait_for};

use crate::{ask, ask_from};

fn config(backend: &Backend, limit: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
clientAddress: {{trustedProxies: [127.0.0.0/8]}}
rateLimits: [{{name: some, {limit}}}]
accessLists: [{{name: seven, allow: ['2001:db8:0:1::7/128']}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: a
  hosts: [a.test]
  rules:
  - {{matches: [{{path: {{prefix: /adm}}}}], policies: {{access: [seven]}}, backends: [{{name: one}}]}}
  - {{policies: {{rateLimits: [some]}}, backends: [{{name: one}}]}}
",
        backend.address
    )
}

fn client(address: &str) -> String {
    format!("X-Forwarded-For: {address}\r\n")
}

fn retry_after(answer: &str) -> Option<u64> {
    answer.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let named = name.eq_ignore_ascii_case("retry-after");
        named.then(|| value.parse().ok()).flatten()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_13_a_limited_request_gets_429_and_no_backend_sees_it() {
    let backend = Backend::start("one").await;
    let yaml = config(&backend, "rate: 1/d").replace(
        "address: '127.0.0.1:0'",
        "address: '127.0.0.1:0', limits: {maxConnectionsPerAddress: 2}",
    );
    let gateway = Gateway::start(&yaml);
    let mut statuses: Vec<_> = (0..20)
        .map(|_| status_of(&ask(gateway.http(), "")))
        .collect();
    assert_eq!(statuses.remove(0), 200);
    assert!(statuses.iter().all(|status| *status == 429), "{statuses:?}");
    assert_eq!(backend.requests(), 1);
    // Alerts tell them from statuses of the backend.
    let refused = r#"portcullis_refusals_total{reason="rate-limit",stage="limit"}"#;
    assert_eq!(gateway.metric(refused), Some(19.0));
    let asked = r#"portcullis_upstream_requests_total{backend="one",outcome="answered"}"#;
    assert_eq!(gateway.metric(asked), Some(1.0));
    // One connection too many is closed, without an answer.
    let mut held: Vec<_> = (0..2).map(|_| Raw::connect(gateway.http())).collect();
    for open in &mut held {
        open.send(b"GET /adm HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(status_of(&open.response()), 403);
    }
    assert_eq!(ask(gateway.http(), ""), "");
    drop(held);
    wait_for("room for another", || {
        status_of(&ask(gateway.http(), "")) == 429
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_13_the_status_is_changed_by_a_reload_that_keeps_the_count() {
    let backend = Backend::start("one").await;
    let with = |status: &str| config(&backend, &format!("rate: 2/d{status}"));
    let gateway = Gateway::start(&with(""));
    let twenty = || -> Vec<u16> {
        (0..20)
            .map(|_| status_of(&ask(gateway.http(), "")))
            .collect()
    };
    let first = twenty();
    assert_eq!(first[..2], [200; 2]);
    assert_eq!(first[2..], [429; 18]);
    for status in [503, 400, 599] {
        gateway.reload(&with(&format!(", status: {status}")));
        assert_eq!(twenty(), [status; 20]);
    }
    let answer = ask(gateway.http(), "");
    assert!(
        answer
            .to_lowercase()
            .contains("x-portcullis-reason: limit/rate-limit")
    );
    assert!(retry_after(&answer).is_some());
    gateway.reload(&with(", mode: report"));
    assert_eq!(twenty(), [200; 20]);
    gateway.reload(&with(""));
    assert_eq!(twenty(), [429; 20]);
    assert_eq!(backend.requests(), 22);
    for wrong in [399, 600, 200] {
        let (passes, told) = check(&with(&format!(", status: {wrong}")));
        assert!(!passes && told.contains("rateLimits[0].status"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_14_the_time_to_wait_is_whole_seconds_and_enough() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend, "rate: 30/m, burst: 1"));
    assert_eq!(status_of(&ask(gateway.http(), "")), 200);
    let refused = ask(gateway.http(), "");
    assert_eq!(status_of(&refused), 429);
    let wait = retry_after(&refused).expect("a whole number of seconds");
    assert!((1..=2).contains(&wait), "{refused}");
    let mut http2 = h2c(gateway.http()).await;
    for content_type in ["text/plain", "application/grpc"] {
        let request = Request::post("http://a.test/")
            .header("content-type", content_type)
            .body(Full::default())
            .expect("a request");
        let answer = http2.send(request).await.expect("an answer");
        assert_eq!(answer.status(), 429);
        let told = answer.headers()["retry-after"].to_str().expect("text");
        let code = answer.headers().get("grpc-status");
        let expected = (content_type == "application/grpc").then_some("14");
        assert_eq!(code.and_then(|code| code.to_str().ok()), expected);
        assert!(
            told.parse::<u64>()
                .is_ok_and(|told| (1..=2).contains(&told)),
            "{told}"
        );
    }
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(status_of(&ask(gateway.http(), "")), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_16_no_parameter_turns_a_limiter_off_or_shuts_the_door() {
    let backend = Backend::start("one").await;
    for (limit, field) in [
        ("rate: 0/s", "rate"),
        ("rate: 5/s, burst: 0", "burst"),
        ("burst: 4", "rate"),
        ("rate: '5'", "rate"),
        ("rate: 5", "rate"),
        ("rate: 5/", "rate"),
        ("rate: 5/0s", "rate"),
        ("rate: 5/10", "rate"),
        ("rate: 4294967296/s", "rate"),
        ("rate: 5/100y", "rate"),
        ("rate: -1/s", "rate"),
        ("rate: 5r/s", "rate"),
        ("rate: 0.5/s", "rate"),
        ("rate: 5/s, burst: -1", "burst"),
        ("rate: 5/s, burst: 4294967296", "burst"),
        // Longer than a clock of nanoseconds counts.
        ("rate: 1/d, burst: 4294967295", "burst"),
    ] {
        let (accepted, said) = check(&config(&backend, limit));
        let named = said.contains("rateLimits[0]") && said.contains(field);
        assert!(!accepted && named, "{limit}: {said}");
    }
    // The least and the most that is accepted does what it says.
    for (limit, passed) in [
        ("rate: 3/d", 3),
        ("rate: 1/d, burst: 1", 1),
        ("rate: 1/d, burst: 3650", 10),
        ("rate: 4294967295/s", 10),
        ("rate: 4294967295/d, burst: 1", 10),
    ] {
        let gateway = Gateway::start(&config(&backend, limit));
        let answers = (0..10).map(|_| status_of(&ask(gateway.http(), "")));
        let found = answers.filter(|status| *status == 200).count();
        assert_eq!(found, passed, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_17_a_customer_of_ipv6_is_one_client_to_limits_and_one_address_to_lists() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend, "rate: 5/d"));
    let passed = |clients: Vec<String>| {
        let answers = clients.iter().map(|one| ask(gateway.http(), &client(one)));
        answers.filter(|answer| status_of(answer) == 200).count()
    };
    let one_network = (1..=50).map(|n| format!("2001:db8:0:1::{n}"));
    assert_eq!(passed(one_network.collect()), 5);
    let networks = (1..=50).map(|n| format!("2001:db8:1:{n}::1"));
    assert_eq!(passed(networks.collect()), 50);
    // A mapped address is the IPv4 address.
    let mapped = (0..10).map(|n| ["192.0.2.1", "::ffff:192.0.2.1"][n % 2].to_owned());
    assert_eq!(passed(mapped.collect()), 5);
    for (last, status) in [(7, 200), (8, 403)] {
        let field = client(&format!("2001:db8:0:1::{last}"));
        let answer = ask_from([127, 0, 0, 1], gateway.http(), "/adm", &field);
        assert_eq!(status_of(&answer), status, "::{last}");
    }
    let id = backend.last().header("x-request-id").to_owned();
    assert_eq!(gateway.access_line(&id)["client"], "2001:db8:0:1::7");
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_19_clients_whose_address_is_missing_are_not_one_client() {
    let backend = Backend::start("one").await;
    for field in ["", "unknown", "x"] {
        let gateway = Gateway::start(&config(&backend, "rate: 1/d"));
        let field = format!("X-Forwarded-For: {field}\r\n");
        for last in 2..12 {
            let statuses = [0, 1]
                .map(|_| status_of(&ask_from([127, 0, 0, last], gateway.http(), "/", &field)));
            assert_eq!(statuses, [200, 429], "{field} from 127.0.0.{last}");
        }
    }
    let gateway = Gateway::start(&config(&backend, "rate: 1/d, key: {header: X-Api-Key}"));
    let long = "k".repeat(8000);
    for (fields, status) in [
        // Without a key the address counts, each by itself.
        (client("192.0.2.1"), 200),
        (client("192.0.2.1"), 429),
        (client("192.0.2.2"), 200),
        // Keys are told apart to their last byte.
        (format!("X-Api-Key: {long}1\r\n"), 200),
        (format!("X-Api-Key: {long}2\r\n"), 200),
        (format!("X-Api-Key: {long}1\r\n"), 429),
    ] {
        assert_eq!(status_of(&ask(gateway.http(), &fields)), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_19_an_office_behind_one_address_is_exempt() {
    let backend = Backend::start("one").await;
    let limit = "rate: 1/d, exempt: [192.0.2.0/24, '2001:db8:7::/48']";
    let gateway = Gateway::start(&config(&backend, limit));
    for address in ["192.0.2.9", "2001:db8:7::9"] {
        for _ in 0..40 {
            assert_eq!(status_of(&ask(gateway.http(), &client(address))), 200);
        }
    }
    let exempt = r#"portcullis_rate_limit_decisions_total{limit="some",verdict="exempt"}"#;
    assert_eq!(gateway.metric(exempt), Some(80.0));
    for (fields, status) in [
        (client("192.0.3.9"), 200),
        (client("192.0.3.9"), 429),
        // The address is that of the client, whoever it says was before.
        (client("192.0.2.9, 192.0.3.9"), 429),
        // Its peers are proxies, and not exempt.
        (String::new(), 200),
        (String::new(), 429),
    ] {
        assert_eq!(status_of(&ask(gateway.http(), &fields)), status, "{fields}");
    }
    // An exemption that goes leaves no credit behind.
    gateway.reload(&config(&backend, "rate: 1/d"));
    assert_eq!(status_of(&ask(gateway.http(), &client("192.0.2.9"))), 200);
    assert_eq!(status_of(&ask(gateway.http(), &client("192.0.2.9"))), 429);
    assert_eq!(status_of(&ask(gateway.http(), &client("192.0.3.9"))), 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_20_each_process_counts_by_itself_and_a_reload_forgets_nothing() {
    let backend = Backend::start("one").await;
    let yaml = config(&backend, "rate: 10/d");
    let replicas = [Gateway::start(&yaml), Gateway::start(&yaml)];
    let mut passed = 0;
    for n in 0..40 {
        for replica in &replicas {
            passed += usize::from(status_of(&ask(replica.http(), "")) == 200);
        }
        if n % 13 == 5 {
            for replica in &replicas {
                replica.reload(&format!("{yaml}# {n}\n"));
            }
        }
    }
    assert_eq!(passed, 20, "10 for each");
}
