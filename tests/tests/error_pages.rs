//! Error pages: they change what people read, and never what was decided.

use std::fs;

use http::{Request, Response};
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, Scripted, h2c, wait_for};

const PAGES: &str = r#"
errorPages:
- name: own
  pages:
  - {statuses: [404, 429], file: page.html}
  - {statuses: [400-599], body: '{"code": ${status}, "id": "${requestId}"}', contentType: application/json}
- name: theirs
  intercept: true
  pages: [{statuses: [401, 500-503], body: "sorry: ${status} ${error}"}]
"#;

fn gateway(address: std::net::SocketAddr) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(
        folder.path().join("page.html"),
        "<h1>${status} ${error}</h1><script>`${x}`</script>",
    )
    .expect("writable");
    let yaml = format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
{PAGES}
rateLimits: [{{name: slow, rate: 1/h}}]
accessLists: [{{name: nobody, allow: []}}]
defaults: {{errorPages: [own]}}
backends: [{{name: one, endpoints: [{{address: {address}}}]}}]
routes:
- name: any
  hosts: [any.example]
  rules:
  - {{matches: [{{path: {{prefix: /closed}}}}], policies: {{access: [nobody]}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /slow}}}}], policies: {{rateLimits: [slow]}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /plain}}}}], policies: {{errorPages: [], access: [nobody]}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /replaced}}}}], rewrite: {{prefix: /status}}, policies: {{errorPages: [theirs]}}, backends: [{{name: one}}]}}
  - {{matches: [{{path: {{prefix: /status}}}}], backends: [{{name: one}}]}}
"
    );
    Gateway::start_in(folder, &yaml, &[])
}

async fn get(client: &mut Client, path: &str, accept: &str) -> Response<bytes::Bytes> {
    let host = path.strip_prefix("//").unwrap_or("any.example");
    let path = if path.starts_with("//") { "/" } else { path };
    let mut request = Request::get(client.uri(host, path));
    if matches!(client, Client::H1(_)) {
        request = request.header("host", host);
    }
    if !accept.is_empty() {
        request = request.header("accept", accept);
    }
    let request = request.body(Full::default()).expect("a request");
    client.send(request).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_takes_the_place_of_the_text_and_of_nothing_else() {
    let backend = Backend::start("one").await;
    let gateway = gateway(backend.address);
    let html = "text/html; charset=utf-8";
    let not_found = "<h1>404 Not Found</h1><script>`${x}`</script>";
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        let first = get(&mut client, "/slow", "").await;
        assert!(matches!(first.status().as_u16(), 200 | 429));
        for (path, accept, status, content_type, body, reason) in [
            ("/none", "text/html", 404, html, not_found, "route/no-route"),
            ("/none", "", 404, html, not_found, "route/no-route"),
            (
                "//other.example",
                "*/*",
                404,
                html,
                not_found,
                "route/no-route",
            ),
            (
                "/none",
                "application/json",
                404,
                "application/json",
                "{\"code\": 404",
                "route/no-route",
            ),
            (
                "/closed",
                "*/*",
                403,
                "application/json",
                "{\"code\": 403",
                "access/not-allowed",
            ),
            (
                "/slow",
                "*/*",
                429,
                html,
                "<h1>429 Too Many",
                "limit/rate-limit",
            ),
            (
                "/plain",
                "*/*",
                403,
                "application/json",
                "{\"status\":403",
                "access/not-allowed",
            ),
            // Nothing that the client takes: the gateway's own text.
            (
                "/closed",
                "image/png",
                403,
                "application/json",
                "{\"status\":403",
                "access/not-allowed",
            ),
        ] {
            let answer = get(&mut client, path, accept).await;
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            assert_eq!(answer.status(), status, "{path} {accept}");
            assert_eq!(
                answer.headers()["content-type"],
                content_type,
                "{path} {accept}"
            );
            assert_eq!(answer.headers()["x-portcullis-reason"], reason, "{path}");
            assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
            assert!(text.starts_with(body), "{path} {accept}: {text}");
            assert_eq!(answer.headers().contains_key("retry-after"), status == 429);
            let id = answer.headers()["x-request-id"].to_str().expect("text");
            assert_eq!(text.contains(id), content_type != html, "{path}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_backends_are_replaced_only_where_a_set_says_so() {
    let backend = Backend::start("one").await;
    let gateway = gateway(backend.address);
    let mut client = Client::h1(gateway.http()).await;
    for (path, status, body) in [
        ("/replaced/503", 503, "sorry: 503 Service Unavailable"),
        ("/replaced/404", 404, "one /status/404"),
        ("/replaced/200", 200, "one /status/200"),
        ("/status/503", 503, "one /status/503"),
    ] {
        let answer = get(&mut client, path, "").await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.body(), body, "{path}");
        if body.starts_with("sorry") {
            assert_eq!(
                answer.headers()["x-portcullis-reason"],
                "upstream/error-page"
            );
            client = Client::h1(gateway.http()).await;
        }
    }
    wait_for("the log lines", || gateway.access_lines().len() == 4);
    let line = &gateway.access_lines()[0];
    assert_eq!(line["decidedBy"], "one");
    assert_eq!(line["status"], 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_how_to_authenticate_stays() {
    let backend = Scripted::answering(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Bearer\r\nSet-Cookie: a=b\r\nX-Powered-By: secret\r\nContent-Length: 6\r\n\r\nnobody",
    )
    .await;
    let gateway = gateway(backend.address);
    let mut client = Client::h1(gateway.http()).await;
    let answer = get(&mut client, "/replaced/401", "").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.body(), "sorry: 401 Unauthorized");
    let ways = answer.headers().get_all("www-authenticate").iter();
    assert_eq!(ways.collect::<Vec<_>>(), ["Basic realm=\"x\"", "Bearer"]);
    assert_eq!(answer.headers()["set-cookie"], "a=b");
    assert!(!answer.headers().contains_key("x-powered-by"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_changes_is_read_again_and_one_that_is_gone_is_told() {
    let backend = Backend::start("one").await;
    let gateway = gateway(backend.address);
    let page = gateway.folder().join("page.html");
    fs::write(&page, "changed").expect("writable");
    let mut client = Client::h1(gateway.http()).await;
    let mut body = bytes::Bytes::new();
    for _ in 0..100 {
        body = get(&mut client, "/none", "").await.into_body();
        if body == "changed" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(body, "changed");
    fs::remove_file(&page).expect("writable");
    wait_for("the problem", || {
        gateway.admin("/config/problems").1.contains("page.html")
    });
    let answer = get(&mut client, "/none", "").await;
    assert_eq!(answer.body(), "changed", "the last good one serves");
}

fn asking(backend: std::net::SocketAddr, pages: std::net::SocketAddr, path: &str) -> Gateway {
    asking_any(backend, &[pages], path, "")
}

fn asking_any(
    backend: std::net::SocketAddr,
    pages: &[std::net::SocketAddr],
    path: &str,
    more: &str,
) -> Gateway {
    let pages = pages.iter().map(|one| format!("{{address: '{one}'}}"));
    let pages = pages.collect::<Vec<_>>().join(", ");
    Gateway::start(&format!(
        r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
rateLimits: [{{name: slow, rate: 1/h}}]
accessLists: [{{name: nobody, allow: []}}]
errorPages:
- name: asked
  intercept: true
  pages:
  - {{statuses: [400-599], backend: {{name: pages, path: '{path}', timeout: 1s}}}}
  - {{statuses: [404, 503], body: "plan b: ${{status}}", contentType: text/plain}}
defaults: {{errorPages: [asked]}}
backends:
- {{name: one, endpoints: [{{address: '{backend}'}}]}}
- {{name: pages, endpoints: [{pages}]{more}}}
routes:
- name: any
  hosts: [any.example]
  rules:
  - {{matches: [{{path: {{prefix: /closed}}}}], policies: {{access: [nobody]}}, backends: [{{name: one}}]}}
  - {{backends: [{{name: one}}]}}
"#
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_asked_for_the_page_and_changes_nothing_else() {
    let (backend, pages) = (Backend::start("one").await, Backend::start("pages").await);
    let gateway = asking(backend.address, pages.address, "/errors?type=text/x-page");
    for mut client in [Client::h1(gateway.http()).await, h2c(gateway.http()).await] {
        for (path, status, reason, service) in [
            ("/closed?a=%20b", 403, "access/not-allowed", ""),
            ("//other.example", 404, "route/no-route", ""),
            ("/status/503", 503, "upstream/error-page", "one"),
        ] {
            let host = path.strip_prefix("//").unwrap_or("any.example");
            let target = if host == "any.example" { path } else { "/" };
            let mut request = Request::get(client.uri(host, target))
                .header("accept", "text/html, */*;q=0.1")
                .header("cookie", "session=secret")
                .header("authorization", "Bearer secret");
            if matches!(client, Client::H1(_)) {
                request = request.header("host", host);
            }
            let request = request.body(Full::default()).expect("a request");
            let answer = client.send(request).await.expect("an answer");
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(answer.headers()["x-portcullis-reason"], reason);
            assert_eq!(answer.headers()["content-type"], "text/x-page");
            assert_eq!(answer.body(), "pages /errors?type=text/x-page");
            assert!(!answer.headers().contains_key("server"), "{path}");
            let seen = pages.last();
            assert_eq!(
                (&*seen.method, &*seen.target),
                ("GET", "/errors?type=text/x-page")
            );
            for (name, value) in [
                ("host", host),
                ("x-code", &status.to_string()),
                ("x-format", "text/html, */*;q=0.1"),
                ("x-original-uri", target),
                ("x-service-name", service),
                ("cookie", ""),
                ("authorization", ""),
            ] {
                assert_eq!(seen.header(name), value, "{path} {name}");
            }
            let id = &answer.headers()["x-request-id"];
            assert_eq!(seen.headers["x-request-id"], id, "{path}");
            if service == "one" && matches!(client, Client::H1(_)) {
                client = Client::h1(gateway.http()).await;
            }
        }
        assert_eq!(get(&mut client, "/fine", "").await.body(), "one /fine");
    }
    assert_eq!(pages.requests(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_backend_is_of_a_type_that_the_client_accepts() {
    let (backend, pages) = (Backend::start("one").await, Backend::start("pages").await);
    let gateway = asking(backend.address, pages.address, "/page?type=text/html");
    let mut client = Client::h1(gateway.http()).await;
    for (accept, content_type, body) in [
        ("", "text/html", "pages /page"),
        ("text/html, */*;q=0.1", "text/html", "pages /page"),
        ("text/plain", "text/plain", "plan b: 404"),
        ("text/html;q=0, */*", "text/plain", "plan b: 404"),
        ("application/json", "application/json", "{\"status\":404"),
    ] {
        let answer = get(&mut client, "//other.example", accept).await;
        let text = String::from_utf8_lossy(answer.body());
        assert!(text.starts_with(body), "{accept}: {text}");
        assert_eq!(answer.headers()["content-type"], content_type, "{accept}");
        assert_eq!(pages.last().header("x-format"), accept);
    }
    assert!(!gateway.log().contains("gave no error page"));
}

/// A backend whose answer is longer than any error page.
async fn too_large() -> Scripted {
    Scripted::start(|mut line| async move {
        while !line.head().await.is_empty() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 300 << 10);
            line.send(head.as_bytes()).await;
            line.send(&vec![b'x'; 300 << 10]).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_that_is_a_page_the_next_one_is_taken() {
    let backend = Backend::start("one").await;
    let well = Backend::start("pages").await;
    let large = too_large().await;
    let coded = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\ncode";
    let coded = Scripted::answering(coded).await;
    let forging = "HTTP/1.1 302 Found\r\nLocation: /in\r\nSet-Cookie: user=admin\r\nContent-Length: 0\r\n\r\n";
    let forging = Scripted::answering(forging).await;
    let dead = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    for (pages, path, why) in [
        (dead, "/", "dead"),
        (large.address, "/", "large"),
        (coded.address, "/", "coded"),
        (forging.address, "/", "forging"),
        (well.address, "/status/500", "another status"),
        (well.address, "/sleep/5000", "slow"),
    ] {
        let gateway = asking(backend.address, pages, path);
        let began = std::time::Instant::now();
        for (path, status, body) in [
            ("//other.example", 404, "plan b: 404"),
            ("/status/503", 503, "plan b: 503"),
            // No other page has the status: the gateway's own text.
            ("/closed", 403, "{\"status\":403"),
            ("/status/502", 502, "{\"status\":502"),
        ] {
            let mut client = Client::h1(gateway.http()).await;
            let answer = get(&mut client, path, "").await;
            assert_eq!(answer.status(), status, "{why} {path}");
            let text = String::from_utf8_lossy(answer.body());
            assert!(text.starts_with(body), "{why} {path}: {text}");
            for name in ["location", "set-cookie", "content-encoding"] {
                assert!(!answer.headers().contains_key(name), "{why} {name}");
            }
        }
        let most = std::time::Duration::from_secs(10);
        assert!(began.elapsed() < most, "{why}: {:?}", began.elapsed());
        assert_eq!(
            gateway.log().matches("gave no error page").count(),
            1,
            "{why}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_for_a_page_is_no_failure_of_its_endpoint() {
    let (backend, well) = (Backend::start("one").await, Backend::start("pages").await);
    let large = too_large().await;
    let gateway = asking_any(
        backend.address,
        &[large.address, well.address],
        "/",
        ", ejection: {failures: 1, time: 1h}",
    );
    let mut client = Client::h1(gateway.http()).await;
    let mut bodies = Vec::new();
    for _ in 0..6 {
        let answer = get(&mut client, "//other.example", "").await;
        bodies.push(answer.into_body());
    }
    // Each has its turn: it is not left out, and the other is not asked in its place.
    let own = bodies.iter().filter(|body| **body == "plan b: 404").count();
    assert_eq!((own, large.heads().len(), well.requests()), (3, 3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_slow_keeps_no_backend_from_other_requests() {
    let (backend, pages) = (Backend::start("one").await, Backend::start("pages").await);
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
errorPages:
- name: asked
  intercept: true
  pages: [{{statuses: [503, 504], backend: {{name: pages, path: /sleep/20000, timeout: 30s}}}}]
backends:
- {{name: one, endpoints: [{{address: '{}'}}], limits: {{maxRequests: 1, maxPending: 0}}}}
- {{name: pages, endpoints: [{{address: '{}'}}]}}
routes:
- name: any
  hosts: [any.example]
  policies: {{errorPages: [asked]}}
  rules:
  - {{matches: [{{path: {{prefix: /status}}}}], policies: {{timeouts: {{request: 2s}}}}, backends: [{{name: one}}]}}
  - {{backends: [{{name: one}}]}}
",
        backend.address, pages.address
    ));
    let began = std::time::Instant::now();
    let at = gateway.http();
    let waits =
        tokio::spawn(async move { get(&mut Client::h1(at).await, "/status/503", "").await });
    wait_for("the page to be asked for", || pages.requests() == 1);
    let other = get(&mut Client::h1(at).await, "/fine", "").await;
    assert_eq!(
        (other.status().as_u16(), &**other.body()),
        (200, &b"one /fine"[..])
    );
    assert!(!waits.is_finished());
    // No longer than the request may take.
    let answer = waits.await.expect("it is answered");
    assert_eq!(answer.status(), 503);
    assert!(answer.body().starts_with(b"{\"status\":503"));
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_backend_is_no_way_around_an_authentication() {
    let refusing =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n";
    let backend = Scripted::answering(refusing).await;
    let page = "HTTP/1.1 200 OK\r\nWWW-Authenticate: Basic\r\nSet-Cookie: user=admin\r\nContent-Length: 4\r\n\r\npage";
    let pages = Scripted::answering(page).await;
    let gateway = asking(backend.address, pages.address, "/");
    let mut client = Client::h1(gateway.http()).await;
    let answer = get(&mut client, "/", "").await;
    assert_eq!(
        (answer.status().as_u16(), &**answer.body()),
        (401, &b"page"[..])
    );
    let ways = answer.headers().get_all("www-authenticate").iter();
    assert_eq!(ways.collect::<Vec<_>>(), ["Bearer"]);
    assert!(!answer.headers().contains_key("set-cookie"));
}
