//! Which request goes where, and what becomes of it on its way.

use std::collections::HashMap;

use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, Nobody, Recorder, h2c};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_rule_serves_a_request() {
    let backend = Backend::start("one").await;
    let names = [
        "exact", "regex", "long", "method", "header", "short", "wild", "any",
    ];
    let backends: String = names
        .iter()
        .map(|name| {
            format!(
                "- {{name: {name}, endpoints: [{{address: {}}}]}}\n",
                backend.address
            )
        })
        .collect();
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends:
{backends}
routes:
- name: shop
  hosts: [shop.example]
  rules:
  - {{matches: [{{path: {{prefix: /}}}}], backends: [{{name: short}}]}}
  - {{matches: [{{path: {{prefix: /a/b}}}}], backends: [{{name: long}}]}}
  - {{matches: [{{path: {{prefix: /a/b}}, method: PUT}}], backends: [{{name: method}}]}}
  - {{matches: [{{path: {{prefix: /a/b}}, headers: [{{name: X-Beta, exact: 'on'}}]}}], backends: [{{name: header}}]}}
  - {{matches: [{{path: {{regex: '/r/[0-9]+'}}}}], backends: [{{name: regex}}]}}
  - {{matches: [{{path: {{exact: /a/b}}}}], backends: [{{name: exact}}]}}
- name: wild
  hosts: ['*.shop.example']
  rules: [{{backends: [{{name: wild}}]}}]
- name: any
  rules: [{{backends: [{{name: any}}]}}]
"
    ));
    let mut client = Client::h1(gateway.http()).await;
    for (method, host, path, header, expected) in [
        ("GET", "shop.example", "/a/b", "", "exact"),
        ("GET", "shop.example", "/a/b/c", "", "long"),
        ("GET", "shop.example", "/a/bc", "", "short"),
        ("PUT", "shop.example", "/a/b/c", "", "method"),
        ("GET", "shop.example", "/a/b/c", "on", "header"),
        ("PUT", "shop.example", "/a/b/c", "on", "method"),
        ("GET", "shop.example", "/r/12", "", "regex"),
        ("GET", "shop.example", "/r/12x", "", "short"),
        ("GET", "SHOP.example:80", "/a/%62", "", "exact"),
        ("GET", "shop.example", "/x/../a/b", "", "exact"),
        ("GET", "x.y.shop.example", "/a/b", "", "wild"),
        ("GET", "other.example", "/a/b", "", "any"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("x-beta", header)
            .body(Full::default())
            .expect("a request");
        let response = client.send(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "{method} {host}{path}");
        let id = response.headers()["x-request-id"].to_str().expect("text");
        assert_eq!(
            gateway.access_line(id)["backend"],
            expected,
            "{method} {host}{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_spread_by_weight_and_in_turn() {
    let (heavy, light) = (Backend::start("heavy").await, Backend::start("light").await);
    let twins = [Backend::start("a").await, Backend::start("b").await];
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends:
- {{name: heavy, endpoints: [{{address: {}}}]}}
- {{name: light, endpoints: [{{address: {}}}]}}
- {{name: twins, endpoints: [{{address: {}}}, {{address: {}}}]}}
- {{name: weighted, endpoints: [{{address: {}, weight: 3}}, {{address: {}, weight: 0}}, {{address: {}}}]}}
routes:
- name: any
  rules:
  - {{matches: [{{path: {{prefix: /split}}}}], backends: [{{name: heavy, weight: 9}}, {{name: light, weight: 1}}]}}
  - {{matches: [{{path: {{prefix: /twins}}}}], backends: [{{name: twins}}]}}
  - {{matches: [{{path: {{prefix: /weighted}}}}], backends: [{{name: weighted}}]}}
",
        heavy.address,
        light.address,
        twins[0].address,
        twins[1].address,
        twins[0].address,
        heavy.address,
        twins[1].address,
    ));
    for (path, expected) in [
        ("/split", [("heavy", 90), ("light", 10)]),
        ("/twins", [("a", 50), ("b", 50)]),
        ("/weighted", [("a", 75), ("b", 25)]),
    ] {
        let mut client = Client::h1(gateway.http()).await;
        let mut counts = HashMap::new();
        for _ in 0..100 {
            let response = client.get("any.example", path).await.expect("an answer");
            let body = String::from_utf8_lossy(response.body()).into_owned();
            let name = body.split(' ').next().expect("a name").to_owned();
            *counts.entry(name).or_insert(0) += 1;
        }
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counts, HashMap::from(expected), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_rewritten_and_its_headers_changed() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: any
  rules:
  - matches: [{{path: {{prefix: /old}}}}]
    rewrite: {{prefix: /new/base, host: inner.example}}
    requestHeaders: {{remove: [X-Gone], set: {{X-Set: gateway}}, add: {{X-Add: second}}}}
    responseHeaders: {{remove: [Server], set: {{X-Frame-Options: DENY}}, add: {{X-Served: '1'}}}}
    backends: [{{name: one}}]
  - {{matches: [{{path: {{prefix: /root}}}}], rewrite: {{prefix: /}}, backends: [{{name: one}}]}}
",
        backend.address
    ));
    let mut client = Client::h1(gateway.http()).await;
    for (path, target) in [
        ("/old", "/new/base"),
        ("/old/x%20y?q=%2F&a=1", "/new/base/x%20y?q=%2F&a=1"),
        ("/root/x", "/x"),
        ("/root", "/"),
        ("/root?q", "/?q"),
    ] {
        client.get("any.example", path).await.expect("an answer");
        assert_eq!(backend.last().target, target, "{path}");
    }
    let request = Request::get("/old")
        .header("host", "any.example")
        .header("x-gone", "1")
        .header("x-set", "client")
        .header("x-add", "first")
        .header("x-forwarded-proto", "https")
        .header("x_forwarded_for", "6.6.6.6")
        .header("ssl-client-verify", "SUCCESS")
        .header("proxy", "http://evil.example")
        .body(Full::default())
        .expect("a request");
    let response = client.send(request).await.expect("an answer");
    let seen = backend.last();
    assert_eq!(seen.header("host"), "inner.example");
    assert_eq!(seen.header("x-gone"), "");
    assert_eq!(seen.header("x-set"), "gateway");
    let added: Vec<_> = seen.headers.get_all("x-add").iter().collect();
    assert_eq!(added, ["first", "second"]);
    // Nobody is trusted to tell the scheme; the original host is told to the backend.
    assert_eq!(seen.header("x-forwarded-proto"), "http");
    assert_eq!(seen.header("x-forwarded-host"), "any.example");
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    for name in ["x_forwarded_for", "ssl-client-verify", "proxy"] {
        assert_eq!(seen.header(name), "", "{name}");
    }
    assert_eq!(
        seen.header("x-request-id"),
        response.headers()["x-request-id"]
    );
    assert_eq!(response.headers()["x-frame-options"], "DENY");
    // The port is the client's, not that of a listener behind a Service.
    assert_eq!(seen.header("x-forwarded-port"), "80");
    let mut clients = [client, h2c(gateway.http()).await];
    for client in &mut clients {
        client
            .get("Any.example:8099", "/root")
            .await
            .expect("an answer");
        let seen = backend.last();
        assert_eq!(seen.header("x-forwarded-host"), "Any.example:8099");
        assert_eq!(seen.header("x-forwarded-port"), "8099");
        assert_eq!(seen.header("host"), "Any.example:8099");
    }
    assert_eq!(response.headers()["x-served"], "1");
    assert!(!response.headers().contains_key("server"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_changes_what_it_names_and_keeps_the_rest() {
    let gateway = Gateway::start(
        r"
listeners: [{name: http, protocol: http, address: '127.0.0.1:0'}]
routes:
- name: to-https
  hosts: [plain.example]
  rules: [{redirect: {scheme: https, status: 308}}]
- name: moved
  hosts: [old.example]
  rules: [{redirect: {scheme: https, host: new.example, port: 8443, path: /welcome, status: 301}}]
",
    );
    let mut client = Client::h1(gateway.http()).await;
    for (host, path, status, location) in [
        (
            "plain.example",
            "/a%20b?x=1&y=%2f",
            308,
            "https://plain.example/a%20b?x=1&y=%2f",
        ),
        (
            "plain.example:8080",
            "//evil.example/x",
            308,
            "https://plain.example/evil.example/x",
        ),
        (
            "old.example",
            "/x?q=1",
            301,
            "https://new.example:8443/welcome?q=1",
        ),
    ] {
        let response = client.get(host, path).await.expect("an answer");
        assert_eq!(response.status(), status, "{host}{path}");
        assert_eq!(response.headers()["location"], location, "{host}{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_gets_the_status_that_says_why() {
    let backend = Backend::start("one").await;
    let silent = Recorder::start().await;
    let gone = Nobody::here();
    let closed = gone.address;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
defaults: {{timeouts: {{read: 300ms}}}}
backends:
- {{name: one, endpoints: [{{address: {}}}]}}
- {{name: silent, endpoints: [{{address: {}}}]}}
- {{name: closed, endpoints: [{{address: {closed}}}]}}
- {{name: half, endpoints: [{{address: {closed}}}, {{address: {}}}]}}
- {{name: empty, endpoints: []}}
routes:
- name: any
  hosts: [any.example]
  rules:
  - {{matches: [{{path: {{prefix: /silent}}}}], backends: [{{name: silent}}]}}
  - {{matches: [{{path: {{prefix: /closed}}}}], backends: [{{name: closed}}]}}
  - {{matches: [{{path: {{prefix: /half}}}}], backends: [{{name: half}}]}}
  - {{matches: [{{path: {{prefix: /empty}}}}], backends: [{{name: empty}}]}}
  - {{matches: [{{path: {{prefix: /nothing}}}}]}}
  - {{matches: [{{path: {{prefix: /one}}}}], backends: [{{name: one}}]}}
",
        backend.address, silent.address, backend.address
    ));
    for (host, path, status, refused_by, reason) in [
        ("any.example", "/unknown", 404, "route", "no-route"),
        ("other.example", "/one", 404, "route", "no-route"),
        ("any.example", "/empty", 503, "upstream", "no-endpoint"),
        ("any.example", "/nothing", 503, "upstream", "no-endpoint"),
        ("any.example", "/closed", 502, "upstream", "connect-failed"),
        ("any.example", "/silent", 504, "upstream", "timeout"),
    ] {
        let mut client = Client::h1(gateway.http()).await;
        let response = client.get(host, path).await.expect("an answer");
        assert_eq!(response.status(), status, "{host}{path}");
        let id = response.headers()["x-request-id"].to_str().expect("text");
        assert!(
            String::from_utf8_lossy(response.body()).contains(id),
            "the page of {path} tells the request id"
        );
        let line = gateway.access_line(id);
        assert_eq!(
            (&line["refusedBy"], &line["reason"], &line["status"]),
            (&json!(refused_by), &json!(reason), &json!(status)),
            "{host}{path}"
        );
    }
    // One endpoint of two is down: no request is lost.
    let mut client = Client::h1(gateway.http()).await;
    for _ in 0..6 {
        let response = client.get("any.example", "/half").await.expect("an answer");
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_and_query_parameters_choose_a_rule() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: any
  rules:
  - {{matches: [{{cookies: [{{name: beta, exact: 'yes'}}]}}], respond: {{body: cookie}}}}
  - {{matches: [{{query: [{{name: v, regex: '[0-9]+'}}]}}], respond: {{body: query}}}}
  - {{backends: [{{name: one}}]}}
",
        backend.address
    ));
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        for (path, cookies, expected) in [
            ("/", vec![], "one"),
            ("/", vec!["a=1; beta=yes"], "cookie"),
            // HTTP/2 clients may send each cookie in a field of its own.
            ("/", vec!["a=1", "beta=yes"], "cookie"),
            ("/", vec!["beta=no"], "one"),
            ("/?v=12", vec![], "query"),
            ("/?v=x", vec![], "one"),
            ("/?v=12", vec!["beta=yes"], "cookie"),
        ] {
            let mut request = Request::get(client.uri("any.example", path));
            if matches!(client, Client::H1(_)) {
                request = request.header("host", "any.example");
            }
            for cookie in &cookies {
                request = request.header("cookie", *cookie);
            }
            let request = request.body(Full::default()).expect("a request");
            let response = client.send(request).await.expect("an answer");
            let body = String::from_utf8_lossy(response.body()).into_owned();
            assert!(body.starts_with(expected), "{path} {cookies:?}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_paths_keep_the_escapes_of_the_client_and_are_judged_again() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: svc
  rules:
  - {{matches: [{{path: {{regex: '/svc(/|$)(.*)'}}}}], rewrite: {{path: /$2}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{regex: '/mgmt/(.*)'}}}}], rewrite: {{path: /$1}}, policies: {{encodedSlashes: keep}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{regex: '/glue/a(.*)/b(.*)'}}}}], rewrite: {{path: /$1$2/x}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{exact: /whole}}}}], rewrite: {{path: /other/$$1}}, backends: [{{name: one}}]}}
",
        backend.address
    ));
    let mut client = Client::h1(gateway.http()).await;
    for (path, expected) in [
        ("/svc", "/"),
        ("/svc/", "/"),
        ("/svc/a/b?x=1&y=%20", "/a/b?x=1&y=%20"),
        ("/svc//double", "/double"),
        ("/%73vc/%61", "/%61"),
        ("/mgmt/k%24v%2Fz%20q", "/k%24v%2Fz%20q"),
        ("/whole?q", "/other/$1?q"),
        ("/svcx", "404"),
        ("/glue/ac/bd?q", "/cd/x?q"),
        // Put together they would lead above the root, or be an escaped slash.
        ("/glue/a./b.", "400"),
        ("/glue/a%2e/b.", "400"),
        ("/glue/a%252/bf", "/%252f/x"),
    ] {
        let before = backend.requests();
        let response = client.get("any.example", path).await.expect("an answer");
        match expected.parse::<u16>() {
            Ok(status) => {
                assert_eq!(response.status(), status, "{path}");
                assert_eq!(backend.requests(), before, "{path}");
                if status == 400 {
                    let reason = &response.headers()["x-portcullis-reason"];
                    assert_eq!(reason, "route/bad-rewrite", "{path}");
                }
            }
            Err(_) => assert_eq!(backend.last().target, expected, "{path}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_answers_and_redirects_need_no_backend() {
    let gateway = Gateway::start(
        r#"
listeners: [{name: http, protocol: http, address: '127.0.0.1:0'}]
accessLists: [{name: nobody, allow: []}]
routes:
- name: any
  rules:
  - {matches: [{path: {exact: /robots.txt}}], respond: {body: "User-agent: *"}, responseHeaders: {set: {Cache-Control: max-age=60}}}
  - {matches: [{path: {exact: /down}}], respond: {status: 503, contentType: application/json, body: '{"down":true}'}}
  - {matches: [{path: {exact: /empty}}], respond: {status: 204}}
  - {matches: [{path: {exact: /closed}}], policies: {access: [nobody]}, respond: {}}
  - {matches: [{path: {prefix: /old}}], redirect: {prefix: /new, status: 301}}
  - {matches: [{path: {regex: '/u/([a-z]+)/(.*)'}}], redirect: {path: '/users/$1/$2', status: 308}}
"#,
    );
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        for (path, status, field, value, body) in [
            (
                "/robots.txt",
                200,
                "content-type",
                "text/plain; charset=utf-8",
                "User-agent: *",
            ),
            (
                "/robots.txt",
                200,
                "cache-control",
                "max-age=60",
                "User-agent: *",
            ),
            (
                "/down",
                503,
                "content-type",
                "application/json",
                "{\"down\":true}",
            ),
            ("/down", 503, "content-length", "13", "{\"down\":true}"),
            (
                "/old/a%20b?q=1",
                301,
                "location",
                "http://any.example/new/a%20b?q=1",
                "",
            ),
            (
                "/u/ann/%61?q",
                308,
                "location",
                "http://any.example/users/ann/%61?q",
                "",
            ),
        ] {
            let response = client.get("any.example", path).await.expect("an answer");
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[field], value, "{path}");
            assert_eq!(response.body(), body, "{path}");
        }
        let response = client
            .get("any.example", "/empty")
            .await
            .expect("an answer");
        assert_eq!(response.status(), 204);
        assert!(!response.headers().contains_key("content-length"));
        let response = client
            .get("any.example", "/closed")
            .await
            .expect("an answer");
        assert_eq!(response.status(), 403);
        let mut request = Request::head(client.uri("any.example", "/down"));
        if matches!(client, Client::H1(_)) {
            request = request.header("host", "any.example");
        }
        let request = request.body(Full::default()).expect("a request");
        let response = client.send(request).await.expect("an answer");
        assert_eq!(response.headers()["content-length"], "13");
        assert!(response.body().is_empty());
    }
}
