//! Policies of one path, and of the others beside it.

use portcullis_tests::{Authority, Backend, Client, Gateway, Raw, raw, status_of};

use crate::{ask, reached};

/// The challenge of ACME is answered over plain HTTP whatever the site around it wants.
#[tokio::test(flavor = "multi_thread")]
async fn ing_22_the_acme_challenge_is_answered_past_the_policies_of_its_host() {
    let (app, solver) = (Backend::start("app").await, Backend::start("solver").await);
    let challenge = "/.well-known/acme-challenge/Tok_en-123";
    for (defaults, rule, status) in [
        ("{}", "redirect: {scheme: https, status: 308}", 308),
        (
            "{}",
            "redirect: {host: new.test, path: /, status: 301}",
            301,
        ),
        ("{access: [office]}", "backends: [{name: app}]", 403),
        ("{waf: {profile: all}}", "backends: [{name: app}]", 403),
        ("{rateLimits: [spent]}", "backends: [{name: app}]", 429),
    ] {
        let gateway = Gateway::start(&format!(
            r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
accessLists: [{{name: office, allow: [10.0.0.0/8]}}]
rateLimits: [{{name: spent, rate: 1/d, burst: 1}}]
wafProfiles:
- name: all
  rules: [{{inline: 'SecRule REQUEST_URI "@beginsWith /" "id:10001,phase:1,deny,status:403"'}}]
backends:
- {{name: app, endpoints: [{{address: {}}}]}}
- {{name: solver, endpoints: [{{address: {}}}]}}
defaults: {defaults}
routes:
- {{name: app, hosts: [app.test], rules: [{{{rule}}}]}}
- name: acme
  hosts: [app.test]
  policies: {{access: [], rateLimits: [], waf: {{}}}}
  rules: [{{matches: [{{path: {{prefix: /.well-known/acme-challenge}}}}], backends: [{{name: solver}}]}}]
"#,
            app.address, solver.address
        ));
        // The first request has the one that the limit lets pass.
        let _ = ask(gateway.http(), "app.test", "/", "");
        let answer = ask(gateway.http(), "app.test", "/", "");
        assert_eq!(status_of(&answer), status, "{rule}: {answer}");
        for _ in 0..2 {
            let found = reached(gateway.http(), "app.test", challenge);
            assert_eq!(found, format!("solver {challenge}"), "{defaults} {rule}");
        }
    }
}

/// A load balancer that ends TLS tells how the client came; nobody else is believed.
#[tokio::test(flavor = "multi_thread")]
async fn ing_23_who_came_over_tls_to_the_load_balancer_is_not_redirected() {
    let app = Backend::start("app").await;
    for (trusted, told, status, proto) in [
        ("127.0.0.1/32", "https", 200, "https"),
        ("127.0.0.1/32", "http", 308, ""),
        ("127.0.0.1/32", "", 308, ""),
        ("127.0.0.1/32", "https, http", 308, ""),
        ("10.0.0.0/8", "https", 308, ""),
    ] {
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a temporary folder");
        authority.write(folder.path(), "app", &["app.test"]);
        let yaml = format!(
            r"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: https, protocol: https, address: '127.0.0.1:0'}}
certificates: [{{name: app, certificate: app.crt, key: app.key}}]
clientAddress: {{trustedProxies: [{trusted}]}}
backends: [{{name: app, endpoints: [{{address: {}}}]}}]
routes:
- name: app
  hosts: [app.test]
  policies: {{https: redirect}}
  rules:
  - {{backends: [{{name: app}}]}}
  - {{matches: [{{path: {{prefix: /optional}}}}], policies: {{https: optional}}, backends: [{{name: app}}]}}
  - {{matches: [{{path: {{prefix: /required}}}}], policies: {{https: required}}, backends: [{{name: app}}]}}
",
            app.address
        );
        let gateway = Gateway::start_in(folder, &yaml, &[]);
        let header = match told {
            "" => String::new(),
            told => format!("X-Forwarded-Proto: {told}\r\n"),
        };
        let answer = ask(gateway.http(), "app.test:8080", "/p?q=1", &header);
        assert_eq!(status_of(&answer), status, "{trusted} {told}: {answer}");
        if status == 308 {
            assert!(
                answer.contains("ocation: https://app.test/p?q=1\r\n"),
                "{answer}"
            );
        } else {
            assert_eq!(app.last().header("x-forwarded-proto"), proto);
        }
        let answer = ask(gateway.http(), "app.test", "/optional", &header);
        assert_eq!(status_of(&answer), 200, "{answer}");
        let refused = ask(gateway.http(), "app.test", "/required", &header);
        let expected = if status == 200 { 200 } else { 403 };
        assert_eq!(status_of(&refused), expected, "{refused}");

        // Over TLS a trusted proxy is believed all the same.
        let mut client = Client::tls(gateway.https(), &authority, "app.test", false)
            .await
            .expect("TLS");
        let mut request = http::Request::get("/").header("host", "app.test");
        if !told.is_empty() {
            request = request.header("x-forwarded-proto", told);
        }
        let request = request
            .body(http_body_util::Full::default())
            .expect("a request");
        let answer = client.send(request).await.expect("an answer");
        let plain = trusted == "127.0.0.1/32" && told.ends_with("http");
        assert_eq!(
            answer.status(),
            if plain { 308 } else { 200 },
            "{trusted} {told}"
        );
        if !plain {
            assert_eq!(app.last().header("x-forwarded-proto"), "https");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_25_a_body_limit_holds_for_every_framing_and_says_who_refused() {
    let backend = Backend::start("one").await;
    let yaml = format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- {{name: a, hosts: [a.test], policies: {{maxBodySize: 1Mi}}, rules: [{{backends: [{{name: one}}]}}]}}
- {{name: b, hosts: [b.test], policies: {{maxBodySize: 0}}, rules: [{{backends: [{{name: one}}]}}]}}
- {{name: c, hosts: [c.test], policies: {{maxBodySize: 8KiB}}, rules: [{{backends: [{{name: one}}]}}]}}
",
        backend.address
    );
    let gateway = Gateway::start(&yaml);
    let post = |host: &str, path: &str, length: usize, chunked: bool| {
        let (framing, body) = if chunked {
            let part = format!("{:x}\r\n{}\r\n", 10_000, "x".repeat(10_000));
            let rest = length % 10_000;
            let last = if rest > 0 {
                format!("{rest:x}\r\n{}\r\n", "x".repeat(rest))
            } else {
                String::new()
            };
            let body = part.repeat(length / 10_000) + &last + "0\r\n\r\n";
            ("Transfer-Encoding: chunked".to_owned(), body)
        } else {
            (format!("Content-Length: {length}"), "x".repeat(length))
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{framing}\r\n\r\n"
        );
        raw(gateway.http(), (head + &body).as_bytes())
    };
    for (host, limit) in [("a.test", 1 << 20), ("c.test", 8 << 10)] {
        for chunked in [false, true] {
            let before = backend.requests();
            let answer = post(host, "/", limit, chunked);
            assert_eq!(status_of(&answer), 200, "{host} {chunked}: {answer}");
            assert_eq!(backend.last().body_len, limit);
            for excess in [1, 900_000] {
                let answer = post(host, "/", limit + excess, chunked);
                assert_eq!(status_of(&answer), 413, "{host} {chunked}: {answer}");
            }
            // What was too long never ended as a shorter body.
            assert_eq!(backend.requests(), before + 1, "{host} {chunked}");
        }
    }
    for chunked in [false, true] {
        let answer = post("b.test", "/", 20_000_000, chunked);
        assert_eq!(status_of(&answer), 200, "{chunked}: {answer}");
        assert_eq!(backend.last().body_len, 20_000_000);
    }
    // A declared length is refused before a byte of the body has come.
    let mut early = Raw::connect(gateway.http());
    early.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1048577\r\n\r\n");
    assert_eq!(status_of(&early.response()), 413);
    // The answer and the log tell the gateway's 413 from that of the backend.
    let ours = post("c.test", "/", 9000, false);
    let theirs = post("c.test", "/status/413", 10, false);
    assert_eq!((status_of(&ours), status_of(&theirs)), (413, 413));
    for (answer, reason) in [(&ours, Some("body-too-large")), (&theirs, None)] {
        let field = format!("x-portcullis-reason: body/{}", reason.unwrap_or_default());
        assert_eq!(answer.contains(&field), reason.is_some(), "{answer}");
        let id = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-request-id").then_some(value)
        });
        let line = gateway.access_line(id.expect("a request id"));
        assert_eq!(line["reason"].as_str(), reason, "{line}");
    }
    // A unit that is none is told, and the last good configuration serves.
    gateway.write_config(&yaml.replace("8KiB", "10mb"));
    portcullis_tests::wait_for("the problem", || {
        let (_, problems) = gateway.admin("/config/problems");
        problems.contains("10mb") && problems.contains("maxBodySize")
    });
    assert_eq!(status_of(&post("c.test", "/", 9000, false)), 413);
}
