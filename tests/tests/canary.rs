//! Canaries: by header, by cookie, by weight, and nobody else's requests; clients that
//! stay with a backend.

use std::{collections::BTreeMap, net::SocketAddr};

use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, h2c, raw};

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
async fn ing_40_a_header_goes_before_a_cookie_and_a_cookie_before_the_weight() {
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
    let line = gateway.access_lines();
    assert!(line.iter().any(|line| line["backend"] == "next"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_41_a_canary_is_of_its_rule_and_of_no_other_with_that_backend() {
    let gateway = gateway("header: {name: X-C}, cookie: cc, weight: 100").await;
    let mut client = Client::h1(gateway.http()).await;
    for (host, expected) in [
        ("app.test", "next"),
        ("admin.test", "prod"),
        // The gateway's own answer.
        ("orphan.test", "{\"status\":404,\"error\":\"Not"),
    ] {
        let found = ask(&mut client, host, "always", "cc=always").await;
        assert_eq!(found, expected, "{host}");
    }
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

/// A gateway whose rules share their backends by weight, with a cookie.
fn sticky_config(addresses: &[SocketAddr; 2], weights: (u32, u32), rule: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
clientAddress: {{trustedProxies: [127.0.0.1/32]}}
backends:
- {{name: prod, endpoints: [{{address: {}}}]}}
- {{name: next, endpoints: [{{address: {}}}]}}
routes:
- name: app
  rules:
  - {{backends: [{{name: prod, weight: {}}}, {{name: next, weight: {}}}], sticky: {{cookie: release, ttl: 1h, secret: key}}{rule}}}
  - {{matches: [{{path: {{prefix: /other}}}}], backends: [{{name: next}}, {{name: prod}}], sticky: {{cookie: release, secret: key}}}}
",
        addresses[0], addresses[1], weights.0, weights.1
    )
}

/// A gateway with a key for its cookies.
fn sticky(config: &str) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("key"), "0123456789abcdef\n").expect("writable");
    Gateway::start_in(folder, config, &[])
}

/// Who answers, and the cookie that is set, with its attributes.
fn visit(gateway: &Gateway, path: &str, fields: &str) -> (String, Option<String>) {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n");
    let response = raw(gateway.http(), request.as_bytes());
    let (head, body) = response.split_once("\r\n\r\n").expect("an answer");
    let set = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("set-cookie")
            .then(|| value.to_owned())
    });
    let who = body.split(' ').next().expect("a name");
    (who.to_owned(), set)
}

async fn two() -> [SocketAddr; 2] {
    [
        Backend::start("prod").await.address,
        Backend::start("next").await.address,
    ]
}

/// The cookies of clients that come for the first time, by who answered them.
fn cookies(gateway: &Gateway) -> BTreeMap<String, String> {
    let mut cookies = BTreeMap::new();
    for _ in 0..40 {
        let (who, set) = visit(gateway, "/", "");
        let set = set.expect("a cookie");
        let cookie = set.split(';').next().expect("a pair").to_owned();
        let known = cookies.entry(who).or_insert_with(|| cookie.clone());
        assert_eq!(*known, cookie, "one name for each");
    }
    cookies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_with_the_backend_that_its_cookie_names() {
    let addresses = two().await;
    let gateway = sticky(&sticky_config(&addresses, (1, 1), ""));
    let cookies = cookies(&gateway);
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    for (who, cookie) in &cookies {
        let value = cookie.strip_prefix("release=").expect("its name");
        assert_eq!(value.len(), 32);
        assert!(
            value.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{value}"
        );
        for path in ["/", "/page", "/other"] {
            for _ in 0..5 {
                let (found, set) = visit(&gateway, path, &format!("Cookie: a=b; {cookie}\r\n"));
                assert_eq!((&found, set), (who, None), "{path}");
            }
        }
    }
    let (_, set) = visit(&gateway, "/", "");
    let set = set.expect("a cookie");
    assert!(
        set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let (_, set) = visit(&gateway, "/", "X-Forwarded-Proto: https\r\n");
    assert!(set.is_some_and(|set| set.ends_with("; SameSite=Lax; Secure")));
    // Forged, of somebody else, empty: chosen anew, by weight.
    for forged in [
        "release=prod",
        "release=",
        "release=0123456789abcdef0123456789abcdef",
        "xrelease=1",
    ] {
        let found: BTreeMap<_, _> = (0..20)
            .map(|_| visit(&gateway, "/", &format!("Cookie: {forged}\r\n")))
            .collect();
        assert_eq!(found.len(), 2, "{forged}");
        assert!(found.values().all(Option::is_some), "{forged}");
    }
    // The same key in another process: the same names.
    let again = sticky(&sticky_config(&addresses, (1, 1), ""));
    assert_eq!(self::cookies(&again), cookies);
    // Whose share is taken away is left by all.
    gateway.reload(&sticky_config(&addresses, (1, 0), ""));
    for _ in 0..5 {
        let (who, set) = visit(&gateway, "/", &format!("Cookie: {}\r\n", cookies["next"]));
        assert_eq!(who, "prod");
        assert!(set.is_some_and(|set| set.starts_with(&cookies["prod"])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_keeps_its_clients_and_a_word_goes_before_the_cookie() {
    let addresses = two().await;
    let canary = |weight: u32| {
        let canary =
            format!(", canary: {{backend: next, header: {{name: X-C}}, weight: {weight}}}");
        sticky_config(&addresses, (1, 0), &canary)
    };
    let gateway = sticky(&canary(50));
    let cookies = cookies(&gateway);
    for (who, cookie) in &cookies {
        let cookie = format!("Cookie: {cookie}\r\n");
        for _ in 0..10 {
            assert_eq!(visit(&gateway, "/", &cookie), (who.clone(), None));
        }
        for (word, expected) in [("always", "next"), ("never", "prod")] {
            let fields = format!("X-C: {word}\r\n{cookie}");
            assert_eq!(visit(&gateway, "/", &fields), (expected.into(), None));
        }
    }
    // A word is for this request alone.
    assert_eq!(
        visit(&gateway, "/", "X-C: always\r\n"),
        ("next".into(), None)
    );
    assert_eq!(
        visit(&gateway, "/", "X-C: never\r\n"),
        ("prod".into(), None)
    );
    // Rolled back: nobody stays.
    gateway.reload(&canary(0));
    let (who, set) = visit(&gateway, "/", &format!("Cookie: {}\r\n", cookies["next"]));
    assert_eq!(who, "prod");
    assert!(set.is_some_and(|set| set.starts_with(&cookies["prod"])));
}
