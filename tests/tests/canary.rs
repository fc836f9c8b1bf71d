//! Canaries: by header, by cookie, by weight, and nobody else's requests.

use portcullis_tests::{Backend, Client, Gateway, h2c};

use http::Request;
use http_body_util::Full;

/// A gateway with hosts `app.test` and `admin.test` on one backend, and a canary for
/// the first.
async fn gateway(canary: &str) -> Gateway {
    let (prod, next) = (Backend::start("prod").await, Backend::start("next").await);
    Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends:
- {{name: prod, endpoints: [{{address: {}}}]}}
- {{name: next, endpoints: [{{address: {}}}]}}
routes:
- name: app
  hosts: [app.test]
  rules: [{{backends: [{{name: prod}}], canary: {{backend: next, {canary}}}}}]
- name: admin
  hosts: [admin.test]
  rules: [{{backends: [{{name: prod}}]}}]
",
        prod.address, next.address
    ))
}

/// Who answers.
async fn ask(client: &mut Client, host: &str, header: &str, cookie: &str) -> String {
    let mut request = Request::get(client.uri(host, "/"));
    if matches!(client, Client::H1(_)) {
        request = request.header("host", host);
    }
    for (name, value) in [("x-c", header), ("cookie", cookie)] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    let request = request.body(Full::default()).expect("a request");
    let response = client.send(request).await.expect("an answer");
    let body = String::from_utf8_lossy(response.body());
    body.split(' ').next().expect("a name").to_owned()
}

/// Of so many requests without a word, those that reach the canary.
async fn share(client: &mut Client, of: usize) -> usize {
    let mut reached = 0;
    for _ in 0..of {
        reached += usize::from(ask(client, "app.test", "", "").await == "next");
    }
    reached
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_goes_before_a_cookie_and_a_cookie_before_the_weight() {
    let gateway = gateway("header: {name: X-C}, cookie: cc, weight: 50").await;
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        for (header, cookie, expected) in [
            ("always", "", "next"),
            ("never", "", "prod"),
            ("never", "cc=always", "prod"),
            ("always", "cc=never", "next"),
            ("other", "cc=always", "next"),
            ("other", "cc=never", "prod"),
            ("", "cc=always", "next"),
            ("", "a=b; cc=never", "prod"),
        ] {
            // A weight of a half would show in ten.
            for _ in 0..10 {
                let found = ask(&mut client, "app.test", header, cookie).await;
                assert_eq!(found, expected, "{header} {cookie}");
            }
        }
    }
    // Five deviations of 1000 draws are 79.
    let mut client = Client::h1(gateway.http()).await;
    let reached = share(&mut client, 1000).await;
    assert!((421..=579).contains(&reached), "{reached}");
    // Another host of the same backend has no canary.
    for _ in 0..10 {
        let found = ask(&mut client, "admin.test", "always", "cc=always").await;
        assert_eq!(found, "prod");
    }
    let line = gateway.access_lines();
    assert!(line.iter().any(|line| line["backend"] == "next"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_value_no_other_word_says_anything() {
    for canary in [
        "header: {name: X-C, exact: 'yes'}, cookie: cc",
        "header: {name: X-C, regex: 'y.s'}, cookie: cc",
    ] {
        let gateway = gateway(canary).await;
        let mut client = Client::h1(gateway.http()).await;
        for (header, cookie, expected) in [
            ("yes", "", "next"),
            ("yes", "cc=never", "next"),
            ("always", "", "prod"),
            ("yes and no", "", "prod"),
            ("never", "cc=always", "next"),
            ("", "", "prod"),
        ] {
            let found = ask(&mut client, "app.test", header, cookie).await;
            assert_eq!(found, expected, "{canary} {header} {cookie}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_is_a_share_of_its_total() {
    for (canary, expected) in [
        ("header: {name: X-C}, weight: 0", 0..=0),
        ("weight: 100", 500..=500),
        ("weight: 1, weightTotal: 1", 500..=500),
        // Five deviations of 500 draws are 34.
        ("weight: 10", 16..=84),
        ("weight: 100, weightTotal: 1000", 16..=84),
    ] {
        let gateway = gateway(canary).await;
        let mut client = h2c(gateway.http()).await;
        let reached = share(&mut client, 500).await;
        assert!(expected.contains(&reached), "{canary}: {reached}");
        if canary.starts_with("header") {
            assert_eq!(ask(&mut client, "app.test", "always", "").await, "next");
        }
    }
}
