//! Requests that belong together go to one endpoint: by a hash, by a cookie.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use portcullis_tests::{Backend, Gateway, Nobody, Scripted, raw, status_of};

/// The configuration of a gateway with one backend.
fn config(endpoints: &[SocketAddr], settings: &str) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| format!("{{address: {address}}}"))
        .collect();
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
clientAddress: {{trustedProxies: [127.0.0.1/32]}}
backends: [{{name: one, endpoints: [{}], {settings}}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        endpoints.join(", ")
    )
}

/// Asks with these header lines.
fn ask(gateway: &Gateway, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{headers}\r\n");
    let response = raw(gateway.http(), request.as_bytes());
    assert_eq!(status_of(&response), 200, "{response}");
    response
}

/// The name of the backend that answered.
fn who(response: &str) -> &str {
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    body.split(' ').next().unwrap_or_default()
}

/// Which backend each of forty keys goes to; `ask` tells it for one key.
fn spread(ask: impl Fn(u32) -> String) -> Vec<String> {
    (0..40).map(|key| who(&ask(key)).to_owned()).collect()
}

async fn three() -> [Backend; 3] {
    [
        Backend::start("one").await,
        Backend::start("two").await,
        Backend::start("three").await,
    ]
}

fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.address).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_its_endpoint_in_every_gateway() {
    let backends = three().await;
    type Ask = fn(&Gateway, u32) -> String;
    let cases: [(&str, Ask); 4] = [
        ("header: X-User", |gateway, key| {
            ask(gateway, "/", &format!("x-user: user-{key}\r\n"))
        }),
        ("cookie: sid", |gateway, key| {
            ask(gateway, "/", &format!("Cookie: a=b; sid=s{key}; c=d\r\n"))
        }),
        ("path", |gateway, key| {
            ask(gateway, &format!("/shop/{key}"), "")
        }),
        ("address", |gateway, key| {
            // One network, and an address counts whole.
            ask(
                gateway,
                "/",
                &format!("X-Forwarded-For: 2001:db8::{key:x}\r\n"),
            )
        }),
    ];
    for (key, ask) in cases {
        let key = match key.contains(':') {
            true => format!("balance: {{hash: {{{key}}}}}"),
            false => format!("balance: {{hash: {key}}}"),
        };
        let mut order = addresses(&backends);
        let first = Gateway::start(&config(&order, &key));
        order.reverse();
        let second = Gateway::start(&config(&order, &key));
        let chosen = spread(|key| ask(&first, key));
        assert_eq!(chosen, spread(|key| ask(&first, key)), "{key}");
        assert_eq!(chosen, spread(|key| ask(&second, key)), "{key}");
        let all: BTreeSet<_> = chosen.iter().collect();
        assert_eq!(all.len(), 3, "{key}: {chosen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_mean_the_same_go_to_the_same_endpoint() {
    let backends = three().await;
    let gateway = Gateway::start(&config(&addresses(&backends), "balance: {hash: path}"));
    for key in 0..20 {
        let plain = ask(&gateway, &format!("/shop/b{key}"), "");
        let spelled = ask(&gateway, &format!("/x/../shop/%62{key}?q={key}"), "");
        assert_eq!(who(&plain), who(&spelled));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_goes_by_address() {
    let backends = three().await;
    for key in ["header: X-User", "cookie: sid"] {
        let settings = format!("balance: {{hash: {{{key}}}}}");
        let by_key = Gateway::start(&config(&addresses(&backends), &settings));
        let by_address = Gateway::start(&config(&addresses(&backends), "balance: {hash: address}"));
        let ask = |gateway: &Gateway, key: u32| {
            ask(
                gateway,
                "/",
                &format!("X-Forwarded-For: 203.0.113.{key}\r\n"),
            )
        };
        let expected = spread(|key| ask(&by_address, key));
        assert_eq!(spread(|key| ask(&by_key, key)), expected);
        assert!(expected.iter().any(|name| *name != expected[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_keys_of_an_endpoint_that_is_down_move() {
    let backends = three().await;
    let mut all = addresses(&backends);
    let settings = "balance: {hash: {header: X-User}}, ejection: {failures: 1, time: 60s}";
    let ask = |gateway: &Gateway, key: u32| ask(gateway, "/", &format!("X-User: u{key}\r\n"));
    let before = {
        let gateway = Gateway::start(&config(&all, settings));
        spread(|key| ask(&gateway, key))
    };
    // One more that nobody answers at.
    let gone = Nobody::here();
    all.push(gone.address);
    let gateway = Gateway::start(&config(&all, settings));
    let with_one_down = spread(|key| ask(&gateway, key));
    assert_eq!(
        with_one_down, before,
        "the dead one's keys go on to their next"
    );
    // Without the second, its keys move and no others.
    let left = [all[0], all[2]];
    let gateway = Gateway::start(&config(&left, settings));
    for (before, after) in before.iter().zip(spread(|key| ask(&gateway, key))) {
        assert!(*before == after || before == "two", "{before} {after}");
    }
}

/// The cookies that a response sets.
fn set_cookies(response: &str) -> Vec<&str> {
    let head = response
        .split_once("\r\n\r\n")
        .map_or(response, |(head, _)| head);
    head.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then_some(value)
        })
        .collect()
}

/// The one cookie that a response sets: name, value and attributes, sorted.
fn set_cookie(response: &str) -> (String, String, Vec<String>) {
    let cookies = set_cookies(response);
    assert_eq!(cookies.len(), 1, "{response}");
    let mut parts = cookies[0].split("; ");
    let (name, value) = parts
        .next()
        .and_then(|pair| pair.split_once('='))
        .expect("a pair");
    let mut attributes: Vec<_> = parts.map(str::to_owned).collect();
    attributes.sort();
    (name.to_owned(), value.to_owned(), attributes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_has_the_attributes_that_are_asked_for_and_no_others() {
    let backend = Backend::start("one").await;
    let https = "X-Forwarded-Proto: https\r\n";
    for (settings, headers, expected) in [
        (
            "cookie: route",
            "",
            vec!["HttpOnly", "Path=/", "SameSite=Lax"],
        ),
        (
            "cookie: route",
            https,
            vec!["HttpOnly", "Path=/", "SameSite=Lax", "Secure"],
        ),
        (
            "cookie: route, secure: false, httpOnly: false, sameSite: strict",
            https,
            vec!["Path=/", "SameSite=Strict"],
        ),
        (
            "cookie: route, ttl: 1h, path: /shop, domain: shop.example, sameSite: none",
            "",
            vec![
                "Domain=shop.example",
                "HttpOnly",
                "Max-Age=3600",
                "Path=/shop",
                "SameSite=None",
                "Secure",
            ],
        ),
        (
            "cookie: __Host-route",
            "",
            vec!["HttpOnly", "Path=/", "SameSite=Lax", "Secure"],
        ),
    ] {
        let settings = format!("affinity: {{{settings}}}");
        let gateway = Gateway::start(&config(&[backend.address], &settings));
        let (name, value, attributes) = set_cookie(&ask(&gateway, "/", headers));
        assert!(settings.contains(&name));
        assert_eq!(attributes, expected, "{settings}");
        assert_eq!(value.len(), 32);
        assert!(
            value.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{value}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_brings_a_client_back_and_is_set_once() {
    let backends = three().await;
    let gateway = Gateway::start(&config(&addresses(&backends), "affinity: {cookie: route}"));
    for _ in 0..4 {
        let first = ask(&gateway, "/", "");
        let (name, value, _) = set_cookie(&first);
        for _ in 0..4 {
            let cookie = format!("Cookie: x=y; {name}={value}\r\n");
            let next = ask(&gateway, "/", &cookie);
            assert_eq!(who(&next), who(&first));
            assert!(set_cookies(&next).is_empty(), "{next}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_value_chooses_anew() {
    let backends = three().await;
    let gateway = Gateway::start(&config(&addresses(&backends), "affinity: {cookie: route}"));
    let (_, real, _) = set_cookie(&ask(&gateway, "/", ""));
    let address = backends[0].address.to_string();
    let upper = real.to_uppercase();
    let mut forged: Vec<String> = ["", "x", "127.0.0.1", &address, &real[1..], &"0".repeat(32)]
        .map(|value| format!("route={value}"))
        .into();
    if upper != real {
        forged.push(format!("route={upper}"));
    }
    // Another cookie's value is not this one's.
    forged.push(format!("routes={real}"));
    forged.push(format!("Route={real}"));
    for cookie in forged {
        let mut names = BTreeSet::new();
        for _ in 0..3 {
            let response = ask(&gateway, "/", &format!("Cookie: {cookie}\r\n"));
            set_cookie(&response);
            names.insert(who(&response).to_owned());
        }
        assert_eq!(names.len(), 3, "{cookie}: in turn, as without a cookie");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn affinity_survives_a_reload_and_ends_with_its_endpoint() {
    let backends = three().await;
    let all = addresses(&backends);
    let gateway = Gateway::start(&config(&all[..2], "affinity: {cookie: route}"));
    let first = ask(&gateway, "/", "");
    let (_, value, _) = set_cookie(&first);
    let cookie = format!("Cookie: route={value}\r\n");
    gateway.reload(&config(&all, "affinity: {cookie: route}"));
    for _ in 0..6 {
        let next = ask(&gateway, "/", &cookie);
        assert_eq!(who(&next), who(&first));
        assert!(set_cookies(&next).is_empty());
    }
    let left: Vec<_> = backends
        .iter()
        .zip(["one", "two", "three"])
        .filter(|(_, name)| *name != who(&first))
        .map(|(backend, _)| backend.address)
        .collect();
    gateway.reload(&config(&left, "affinity: {cookie: route}"));
    let moved = ask(&gateway, "/", &cookie);
    assert_ne!(who(&moved), who(&first));
    let (_, next, _) = set_cookie(&moved);
    assert_ne!(next, value);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_endpoint_fails_is_moved_with_its_cookie() {
    let good = Backend::start("good").await;
    let failing = Scripted::start(|mut line| async move {
        // Well once, so that a client learns of it.
        if line.index == 0 {
            line.head().await;
            line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nfailing ")
                .await;
        }
    })
    .await;
    let endpoints = [failing.address, good.address];
    let settings = "affinity: {cookie: route}, ejection: {failures: 0}";
    let gateway = Gateway::start(&config(&endpoints, settings));
    let first = ask(&gateway, "/", "");
    assert_eq!(who(&first), "failing");
    let (_, value, _) = set_cookie(&first);
    let moved = ask(&gateway, "/", &format!("Cookie: route={value}\r\n"));
    assert_eq!(who(&moved), "good");
    let (_, next, _) = set_cookie(&moved);
    assert_ne!(next, value);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_secret_makes_gateways_agree_and_nothing_else_does() {
    let backends = three().await;
    let start = |secret: Option<&str>| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = match secret {
            None => "affinity: {cookie: route}",
            Some(secret) => {
                fs::write(folder.path().join("secret"), secret).expect("writable");
                "affinity: {cookie: route, secret: secret}"
            }
        };
        Gateway::start_in(folder, &config(&addresses(&backends), settings), &[])
    };
    let shared = "0123456789abcdef0123456789abcdef\n";
    let (first, second) = (start(Some(shared)), start(Some(shared)));
    for _ in 0..3 {
        let response = ask(&first, "/", "");
        let (_, value, _) = set_cookie(&response);
        let cookie = format!("Cookie: route={value}\r\n");
        let elsewhere = ask(&second, "/", &cookie);
        assert_eq!(who(&elsewhere), who(&response));
        assert!(set_cookies(&elsewhere).is_empty());
        for other in [start(None), start(Some("another secret of good length"))] {
            set_cookie(&ask(&other, "/", &cookie));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_the_backend_stay_and_rules_do_not_reach_ours() {
    let backend = Scripted::answering(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: route=theirs\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let settings = "affinity: {cookie: route}";
    let plain = Gateway::start(&config(&[backend.address], settings));
    let response = ask(&plain, "/", "");
    let cookies = set_cookies(&response);
    assert_eq!(cookies.len(), 3, "{response}");
    assert_eq!(cookies[..2], ["a=1; Path=/", "route=theirs"]);
    let stripping = config(&[backend.address], settings).replace(
        "rules: [{",
        "rules: [{responseHeaders: {remove: [Set-Cookie]}, ",
    );
    let stripping = Gateway::start(&stripping);
    let (name, _, _) = set_cookie(&ask(&stripping, "/", ""));
    assert_eq!(name, "route");
}
