//! Pages of other origins: preflights, and what browsers are told with every answer.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, Scripted, h2c};

const APP: &str = "https://app.example.com";

async fn ask(
    client: &mut Client,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &'static [u8],
) -> Response<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(client.uri("api.example", path));
    if matches!(client, Client::H1(_)) {
        request = request.header("host", "api.example");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::from(Bytes::from_static(body)))
        .expect("a request");
    client.send(request).await.expect("an answer")
}

async fn preflight(client: &mut Client, path: &str, origin: &str, method: &str) -> Response<Bytes> {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,x-trace"),
    ];
    ask(client, ("OPTIONS", path), &headers, b"").await
}

/// The values of a header, joined.
fn all(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().expect("text"))
        .collect();
    lines.join(", ")
}

/// Every `Access-Control-*` header, sorted.
fn told(headers: &HeaderMap) -> Vec<String> {
    let mut told: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("access-control-"))
        .map(|(name, value)| {
            let name = name.as_str().trim_start_matches("access-control-");
            format!("{name}: {}", value.to_str().expect("text"))
        })
        .collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_answered_by_the_rule_of_the_request_they_are_about() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
accessLists: [{{name: nobody, allow: []}}]
rateLimits: [{{name: two, rate: 2/h}}]
wafProfiles:
- name: strict
  rules: [{{inline: 'SecRule REQUEST_METHOD "@streq OPTIONS" "id:1,phase:1,deny"'}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
defaults:
  cors:
    allowOrigins: [{APP}, 'https://*.partner.example']
    allowMethods: [GET, PUT]
    allowHeaders: [Authorization, X-Trace]
    exposeHeaders: [X-Total]
    allowCredentials: true
    maxAge: 1h
routes:
- name: api
  rules:
  - {{backends: [{{name: one}}], policies: {{waf: {{profile: strict}}}}}}
  - {{matches: [{{path: {{prefix: /open}}}}], backends: [{{name: one}}], policies: {{cors: {{allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*']}}}}}}
  - {{matches: [{{path: {{prefix: /everybody}}}}], backends: [{{name: one}}], policies: {{cors: {{allowOrigins: ['*'], allowCredentials: true}}}}}}
  - {{matches: [{{path: {{prefix: /own}}}}], backends: [{{name: one}}], policies: {{cors: {{}}}}}}
  - {{matches: [{{path: {{prefix: /method}}, method: PUT}}], backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /method}}}}], backends: [{{name: one}}], policies: {{cors: {{}}}}}}
  - {{matches: [{{path: {{prefix: /closed}}}}], backends: [{{name: one}}], policies: {{access: [nobody]}}}}
  - {{matches: [{{path: {{prefix: /limited}}}}], backends: [{{name: one}}], policies: {{rateLimits: [two]}}}}
  - {{matches: [{{path: {{prefix: /moved}}}}], redirect: {{path: /new}}}}
"#,
        backend.address
    ));
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        let full = |origin: &str| {
            vec![
                "allow-credentials: true".to_owned(),
                "allow-headers: Authorization, X-Trace".to_owned(),
                "allow-methods: GET, PUT".to_owned(),
                format!("allow-origin: {origin}"),
                "expose-headers: X-Total".to_owned(),
                "max-age: 3600".to_owned(),
            ]
        };
        for origin in [APP, "https://a.b.partner.example"] {
            let response = preflight(&mut client, "/", origin, "PUT").await;
            assert_eq!(response.status(), 200);
            assert_eq!(told(response.headers()), full(origin));
            assert_eq!(all(response.headers(), "vary"), "Origin");
        }
        for path in ["/method", "/moved"] {
            let response = preflight(&mut client, path, APP, "PUT").await;
            assert_eq!(
                (response.status().as_u16(), told(response.headers())),
                (200, full(APP))
            );
        }
        for origin in [
            "https://app.example.com.evil.test",
            "https://evilpartner.example",
            "https://partner.example",
            "http://app.example.com",
            "null",
        ] {
            let response = preflight(&mut client, "/", origin, "PUT").await;
            assert_eq!(response.status(), 403, "{origin}");
            let headers = response.headers();
            assert_eq!(
                all(headers, "x-portcullis-reason"),
                "cors/origin-not-allowed"
            );
            assert_eq!(told(headers), [""; 0], "{origin}");
            assert_eq!(all(headers, "vary"), "Origin");
        }
        let response = preflight(&mut client, "/open", "null", "BREW").await;
        assert_eq!(
            told(response.headers()),
            [
                "allow-headers: authorization,x-trace",
                "allow-methods: BREW",
                "allow-origin: *",
                "expose-headers: *",
                "max-age: 600",
            ]
        );
        assert_eq!(all(response.headers(), "vary"), "");
        let response = preflight(&mut client, "/everybody", "https://any.test", "GET").await;
        assert_eq!(
            told(response.headers()),
            [
                "allow-credentials: true",
                "allow-methods: GET, HEAD, POST",
                "allow-origin: https://any.test",
                "max-age: 600",
            ]
        );
        // After access lists; the page may read that.
        let response = preflight(&mut client, "/closed", APP, "PUT").await;
        assert_eq!(response.status(), 403);
        assert_eq!(
            all(response.headers(), "x-portcullis-reason"),
            "access/not-allowed"
        );
        assert_eq!(all(response.headers(), "access-control-allow-origin"), APP);
    }
    assert_eq!(backend.requests(), 0, "a preflight reached the backend");
    let mut client = Client::h1(gateway.http()).await;
    for status in [200, 200, 429] {
        let response = preflight(&mut client, "/limited", APP, "PUT").await;
        assert_eq!(response.status(), status);
        assert_eq!(all(response.headers(), "access-control-allow-origin"), APP);
    }
    // Without a policy, for another method, or when it is no preflight, the backend is asked.
    preflight(&mut client, "/own", APP, "PUT").await;
    preflight(&mut client, "/method", APP, "GET").await;
    ask(
        &mut client,
        ("OPTIONS", "/everybody"),
        &[("origin", APP)],
        b"",
    )
    .await;
    let headers = [("access-control-request-method", "GET")];
    ask(&mut client, ("OPTIONS", "/everybody"), &headers, b"").await;
    let headers = [
        ("origin", APP),
        ("access-control-request-method", "GET"),
        ("access-control-request-method", "PUT"),
    ];
    ask(&mut client, ("OPTIONS", "/everybody"), &headers, b"").await;
    // Nor is one with a body, or that asks to be taken for another method.
    let asking = ("access-control-request-method", "GET");
    let headers = [("origin", APP), asking];
    ask(&mut client, ("OPTIONS", "/everybody"), &headers, b"body").await;
    let headers = [("origin", APP), asking, ("x-http-method-override", "PUT")];
    ask(&mut client, ("OPTIONS", "/everybody"), &headers, b"").await;
    let seen: Vec<_> = backend.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(seen, ["OPTIONS"; 7]);
    // A plain OPTIONS is inspected as any request.
    let response = ask(&mut client, ("OPTIONS", "/"), &[("origin", APP)], b"").await;
    assert_eq!(
        all(response.headers(), "x-portcullis-reason"),
        "waf/blocked"
    );
    assert_eq!(all(response.headers(), "access-control-allow-origin"), APP);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_the_browser_who_may_read_it() {
    let backend = Scripted::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVary: Accept-Language\r\nX-Total: 7\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: DELETE\r\n\
         Access-Control-Allow-Private-Network: true\r\n\r\nok",
    )
    .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(
        folder.path().join("users"),
        "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
    )
    .expect("writable");
    let yaml = format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
accessLists: [{{name: nobody, allow: []}}]
authentications: [{{name: staff, preflight: authenticate, basic: {{users: users}}}}]
backends:
- {{name: one, endpoints: [{{address: {}}}]}}
- {{name: none, endpoints: []}}
defaults: {{cors: {{allowOrigins: [{APP}], exposeHeaders: [X-Total]}}}}
routes:
- name: api
  rules:
  - {{backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /small}}}}], backends: [{{name: one}}], policies: {{maxBodySize: 1B}}}}
  - {{matches: [{{path: {{prefix: /closed}}}}], backends: [{{name: one}}], policies: {{access: [nobody]}}}}
  - {{matches: [{{path: {{prefix: /staff}}}}], backends: [{{name: one}}], policies: {{authentication: [staff]}}}}
  - {{matches: [{{path: {{prefix: /none}}}}], backends: [{{name: none}}]}}
  - {{matches: [{{path: {{prefix: /moved}}}}], redirect: {{path: /new}}}}
  - {{matches: [{{path: {{prefix: /fixed}}}}], respond: {{status: 410, body: gone}}}}
  - {{matches: [{{path: {{prefix: /last}}}}], backends: [{{name: one}}], responseHeaders: {{set: {{Access-Control-Allow-Origin: 'https://other.example'}}}}}}
  - {{matches: [{{path: {{prefix: /open}}}}], backends: [{{name: one}}], policies: {{cors: {{allowOrigins: ['*']}}}}}}
  - {{matches: [{{path: {{prefix: /own}}}}], backends: [{{name: one}}], policies: {{cors: {{}}}}}}
",
        backend.address
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let shared = [
        format!("allow-origin: {APP}"),
        "expose-headers: X-Total".into(),
    ];
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        for (method, path, body, status, vary) in [
            ("GET", "/", "", 200, "Accept-Language, Origin"),
            ("GET", "/closed", "", 403, "Origin"),
            ("GET", "/staff", "", 401, "Origin"),
            ("POST", "/small", "too much", 413, "Origin"),
            ("GET", "/none", "", 503, "Origin"),
            ("GET", "/moved", "", 302, "Origin"),
            ("GET", "/fixed", "", 410, "Origin"),
            ("GET", "/%2F", "", 400, "Origin"),
            ("GET", "/", "", 200, "Accept-Language, Origin"),
        ] {
            for (origin, expected) in [(APP, &shared[..]), ("https://evil.test", &[])] {
                // A body that nobody read ends its connection.
                client = match client {
                    Client::H1(_) => Client::h1(gateway.http()).await,
                    other => other,
                };
                let headers = [("origin", origin)];
                let response = ask(&mut client, (method, path), &headers, body.as_bytes()).await;
                assert_eq!(response.status(), status, "{path}");
                assert_eq!(told(response.headers()), expected, "{path} {origin}");
                assert_eq!(all(response.headers(), "vary"), vary, "{path} {origin}");
            }
        }
        // A browser has no password for a preflight.
        let response = preflight(&mut client, "/staff", APP, "PUT").await;
        assert_eq!(response.status(), 200);
        let response = ask(&mut client, ("GET", "/"), &[], b"").await;
        assert_eq!(told(response.headers()), [""; 0]);
        assert_eq!(all(response.headers(), "vary"), "Accept-Language, Origin");
        // One answer for all: caches need not know who asked.
        for headers in [&[("origin", "https://any.test")][..], &[]] {
            let response = ask(&mut client, ("GET", "/open"), headers, b"").await;
            assert_eq!(told(response.headers()), ["allow-origin: *"]);
            assert_eq!(all(response.headers(), "vary"), "Accept-Language");
        }
        let response = ask(&mut client, ("GET", "/last"), &[("origin", APP)], b"").await;
        let value = all(response.headers(), "access-control-allow-origin");
        assert_eq!(value, "https://other.example");
        let response = ask(&mut client, ("GET", "/own"), &[("origin", APP)], b"").await;
        let own = [
            "allow-methods: DELETE",
            "allow-origin: *",
            "allow-private-network: true",
        ];
        assert_eq!(told(response.headers()), own);
    }
}
