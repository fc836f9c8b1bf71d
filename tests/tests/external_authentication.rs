//! A server that is asked whether a request may pass.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Gateway, Nobody, Raw, Scripted, h2c, raw, status_of, wait_for};

/// Answers as the field `X-Answer` of its question says.
async fn server() -> Scripted {
    Scripted::start(|mut line| async move {
        loop {
            let head = line.head().await;
            if head.is_empty() {
                return;
            }
            let answer = match field(&head, "x-answer") {
                Some("200") => {
                    "200 OK\r\nX-Auth-User: anna\r\nX-Auth-Group: a\r\nX-Auth-Group: b\r\nX-Other: x\r\nContent-Length: 2\r\n\r\nok"
                }
                Some("200-cookie") => {
                    "200 OK\r\nX-Auth-User: anna\r\nSet-Cookie: s=2; Secure\r\nSet-Cookie: t=3\r\nContent-Length: 0\r\n\r\n"
                }
                Some("204") => "204 No Content\r\n\r\n",
                Some("299") => "299 Fine\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                Some("100") => "100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                Some("401") => {
                    "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nWWW-Authenticate: Basic realm=\"y\"\r\nSet-Cookie: csrf=1\r\nContent-Length: 0\r\n\r\n"
                }
                Some("403") => "403 Forbidden\r\nSet-Cookie: csrf=1\r\nContent-Length: 3\r\n\r\nno!",
                Some("302") => "302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
                Some("304") => "304 Not Modified\r\n\r\n",
                Some("500") => "500 Oops\r\nContent-Length: 0\r\n\r\n",
                Some("429") => "429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
                Some("closes") => return,
                Some("silent") => {
                    std::future::pending::<()>().await;
                    return;
                }
                Some("half") => {
                    line.send(b"HTTP/1.1 200 OK\r\nX-Auth-User: anna\r\n").await;
                    return;
                }
                Some("no-http") => "\u{1}\u{2}\r\n\r\n",
                _ => "401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            };
            line.send(format!("HTTP/1.1 {answer}").as_bytes()).await;
        }
    })
    .await
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        known.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn config(server: SocketAddr, backend: SocketAddr, external: &str, policies: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
authentications:
- {{name: sso, external: {{backend: auth, path: '/auth?team=a', responseHeaders: [X-Auth-User, X-Auth-Group], userHeader: X-Auth-User{external}}}}}
accessLists: [{{name: here, allow: [127.0.0.0/8]}}, {{name: elsewhere, allow: [10.0.0.0/8]}}]
backends:
- {{name: auth, endpoints: [{{address: {server}}}]}}
- {{name: one, endpoints: [{{address: {backend}}}]}}
routes:
- name: any
  policies: {{authentication: [sso]{policies}}}
  rules: [{{matches: [{{path: {{prefix: /open}}}}], policies: {{authentication: []}}, backends: [{{name: one}}]}}, {{backends: [{{name: one}}]}}]
"
    )
}

fn get(gateway: &Gateway, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{headers}Connection: close\r\n\r\n");
    raw(gateway.http(), request.as_bytes())
}

fn all<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

fn reason(answer: &str) -> &str {
    field(answer, "x-portcullis-reason").unwrap_or_default()
}

fn decisions(gateway: &Gateway, verdict: &str) -> Option<f64> {
    gateway.metric(&format!(
        "portcullis_authentications_total{{authentication=\"sso\",verdict=\"{verdict}\"}}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_2xx_lets_pass_and_no_answer_is_none() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let yaml = config(server.address, backend.address, ", timeout: 1s", "");
    let gateway = Gateway::start(&yaml);
    for (answer, status, why) in [
        ("200", 200, ""),
        ("200-cookie", 200, ""),
        ("204", 200, ""),
        ("299", 200, ""),
        ("100", 200, ""),
        ("401", 401, "unauthorized"),
        ("403", 403, "forbidden"),
        ("302", 500, "bad-answer"),
        ("304", 500, "bad-answer"),
        ("429", 500, "bad-answer"),
        ("500", 500, "bad-answer"),
        ("closes", 503, "unavailable"),
        ("half", 503, "unavailable"),
        ("no-http", 503, "unavailable"),
        ("silent", 503, "unavailable"),
        // Nothing of one answer is left for the next.
        ("401", 401, "unauthorized"),
        ("200", 200, ""),
    ] {
        let before = backend.requests();
        let told = get(&gateway, "/", &format!("X-Answer: {answer}\r\n"));
        assert_eq!(status_of(&told), status, "{answer}: {told}");
        let expected = if why.is_empty() {
            String::new()
        } else {
            format!("authentication/{why}")
        };
        assert_eq!(reason(&told), expected, "{answer}");
        assert_eq!(
            backend.requests() - before,
            usize::from(status == 200),
            "{answer}"
        );
        assert!(all(&told, "location").is_empty(), "{told}");
        let mut client = h2c(gateway.http()).await;
        let request = Request::get(client.uri("a.example", "/")).header("x-answer", answer);
        let request = request.body(Full::default()).expect("a request");
        let told = client.send(request).await.expect("an answer");
        assert_eq!(told.status().as_u16(), status, "{answer} over HTTP/2");
    }
    assert_eq!(decisions(&gateway, "pass"), Some(12.0));
    assert_eq!(decisions(&gateway, "deny"), Some(6.0));
    assert_eq!(decisions(&gateway, "error"), Some(16.0));
    let log = gateway.log();
    let told = |line: &str| {
        line.contains("an authentication got no answer") && line.contains("authentication=sso")
    };
    assert!(log.lines().any(told), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_lets_nobody_pass_and_another_endpoint_answers_for_it() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let nobody = Nobody::here();
    let gone = nobody.address;
    let gateway = Gateway::start(&config(gone, backend.address, "", ""));
    for headers in ["X-Answer: 200\r\n", ""] {
        let told = get(&gateway, "/", headers);
        assert_eq!(
            (status_of(&told), reason(&told)),
            (503, "authentication/unavailable")
        );
    }
    assert_eq!(backend.requests(), 0);
    let none = config(gone, backend.address, "", "").replace(&format!("{{address: {gone}}}"), "");
    let gateway = Gateway::start(&none);
    let told = get(&gateway, "/", "X-Answer: 200\r\n");
    assert_eq!(
        (status_of(&told), reason(&told)),
        (503, "authentication/unavailable")
    );
    let two = config(gone, backend.address, "", "").replace(
        &format!("{{address: {gone}}}"),
        &format!("{{address: {gone}}}, {{address: {}}}", server.address),
    );
    let gateway = Gateway::start(&two);
    for _ in 0..6 {
        assert_eq!(status_of(&get(&gateway, "/", "X-Answer: 200\r\n")), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_tells_what_is_asked_and_nothing_that_a_client_made_up() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let yaml = config(server.address, backend.address, "", "");
    let gateway = Gateway::start(&yaml);
    let request = "POST /a/../%62%20c?x=1 HTTP/1.1\r\nHost: A.example:8443\r\nX-Answer: 200\r\n\
        Authorization: Bearer t\r\nCookie: s=1\r\nUser-Agent: me\r\n\
        X-Original-URL: http://evil/\r\nX-Original-Method: GET\r\nX-Forwarded-Uri: /evil\r\n\
        X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Auth-Request-Redirect: /evil\r\n\
        X-Auth-User: root\r\nX_Auth_User: root\r\nX-Real-IP: 6.6.6.6\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
        If-None-Match: \"a\"\r\nRange: bytes=0-1\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody";
    let told = raw(gateway.http(), request.as_bytes());
    assert!(told.starts_with("HTTP/1.1 100"), "{told}");
    let heads = server.heads();
    let asked = heads.last().expect("a question");
    assert!(
        asked.starts_with("GET /auth?team=a HTTP/1.1\r\n"),
        "{asked}"
    );
    for (name, value) in [
        ("host", Some("a.example:8443")),
        ("authorization", Some("Bearer t")),
        ("cookie", Some("s=1")),
        ("user-agent", Some("me")),
        ("x-original-url", Some("http://a.example:8443/b%20c?x=1")),
        ("x-original-uri", Some("/b%20c?x=1")),
        ("x-original-method", Some("POST")),
        ("x-forwarded-uri", Some("/b%20c?x=1")),
        ("x-forwarded-method", Some("POST")),
        ("x-auth-request-redirect", Some("/b%20c?x=1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("a.example:8443")),
        ("x-forwarded-port", Some("8443")),
        ("x-auth-user", None),
        ("x_auth_user", None),
        ("x-hop", None),
        ("connection", None),
        ("if-none-match", None),
        ("range", None),
        ("content-type", None),
        ("content-length", None),
        ("transfer-encoding", None),
        ("expect", None),
    ] {
        let found = all(asked, name);
        assert_eq!(
            found,
            value.into_iter().collect::<Vec<_>>(),
            "{name} in {asked}"
        );
    }
    let seen = backend.last();
    assert_eq!((seen.method.as_str(), seen.body_len), ("POST", 4));

    let chosen = ", method: POST, host: auth.example, requestHeaders: [X-Answer, Cookie]";
    let gateway = Gateway::start(&config(server.address, backend.address, chosen, ""));
    let told = get(
        &gateway,
        "/",
        "X-Answer: 200\r\nCookie: s=1\r\nAuthorization: Bearer t\r\n",
    );
    assert_eq!(status_of(&told), 200, "{told}");
    let heads = server.heads();
    let asked = heads.last().expect("a question");
    assert!(
        asked.starts_with("POST /auth?team=a HTTP/1.1\r\n"),
        "{asked}"
    );
    assert_eq!(all(asked, "host"), ["auth.example"]);
    assert_eq!(all(asked, "content-length"), ["0"]);
    assert_eq!(all(asked, "cookie"), ["s=1"]);
    assert!(all(asked, "authorization").is_empty(), "{asked}");
    assert_eq!(all(asked, "x-original-url"), ["http://a.example/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_how_the_client_asked() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let sign_in = ", signIn: '/oauth2/start?rd={url}'";
    let yaml = config(server.address, backend.address, sign_in, "")
        + "clientAddress: {trustedProxies: [127.0.0.1]}\n";
    let gateway = Gateway::start(&yaml);
    let told = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n";
    for (headers, url, client) in [
        // The rule is that of a.example, whatever the proxy tells of another.
        (told, "https://a.example/x", "192.0.2.7"),
        (
            "X_Original_URL: https://evil/\r\nX-Original_Method: PUT\r\nssl-client-verify: SUCCESS\r\n",
            "http://a.example/x",
            "127.0.0.1",
        ),
        ("", "http://a.example/x", "127.0.0.1"),
        (
            "X-Forwarded-Proto: javascript\r\n",
            "http://a.example/x",
            "127.0.0.1",
        ),
        (
            "X-Forwarded-Host: a b\r\n",
            "http://a.example/x",
            "127.0.0.1",
        ),
        (
            "X-Auth-User: root\r\nX-Original-URL: https://evil/\r\n",
            "http://a.example/x",
            "127.0.0.1",
        ),
    ] {
        let headers = format!("{headers}X-Answer: 401\r\nSec-Fetch-Mode: navigate\r\n");
        let told = get(&gateway, "/x", &headers);
        let heads = server.heads();
        let asked = heads.last().expect("a question");
        assert_eq!(all(asked, "x-original-url"), [url], "{headers}");
        assert_eq!(all(asked, "x-real-ip"), [client], "{headers}");
        assert_eq!(all(asked, "x-forwarded-proto").len(), 1, "{asked}");
        assert_eq!(all(asked, "x-forwarded-host").len(), 1, "{asked}");
        assert_eq!(all(asked, "x-forwarded-host"), ["a.example"], "{asked}");
        for name in ["x-auth-user", "x_original_url", "x-original_method"] {
            assert!(all(asked, name).is_empty(), "{name}: {asked}");
        }
        let escaped = url.replace(':', "%3A").replace('/', "%2F");
        assert_eq!(
            all(&told, "location"),
            [format!("/oauth2/start?rd={escaped}")]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_is_told_what_the_server_says_and_believes_no_client() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let yaml = config(server.address, backend.address, "", "");
    let gateway = Gateway::start(&yaml);
    let forged = "X-Auth-User: root\r\nX_Auth_Group: root\r\nx-auth-GROUP: root\r\n";
    for (path, answer, user, groups) in [
        ("/", "200", "anna", vec!["a", "b"]),
        ("/", "204", "", vec![]),
        ("/", "200-cookie", "anna", vec![]),
        ("/open", "", "", vec![]),
    ] {
        let told = get(&gateway, path, &format!("{forged}X-Answer: {answer}\r\n"));
        assert_eq!(status_of(&told), 200, "{told}");
        let seen = backend.last();
        assert_eq!(seen.header("x-auth-user"), user, "{answer}");
        let found: Vec<_> = seen.headers.get_all("x-auth-group").iter().collect();
        assert_eq!(found, groups, "{answer}");
        for gone in ["x_auth_user", "x_auth_group", "x-other"] {
            assert!(!seen.headers.contains_key(gone), "{gone} {answer}");
        }
    }
    wait_for("the log", || gateway.access_lines().len() == 4);
    let lines = gateway.access_lines();
    let users: Vec<_> = lines.iter().map(|line| line["user"].as_str()).collect();
    assert_eq!(users, [Some("anna"), None, Some("anna"), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_and_challenges_reach_the_client() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let gateway = Gateway::start(&config(server.address, backend.address, "", ""));
    let told = get(&gateway, "/", "X-Answer: 200-cookie\r\n");
    assert_eq!(all(&told, "set-cookie"), ["s=2; Secure", "t=3"], "{told}");
    let told = get(&gateway, "/", "X-Answer: 401\r\n");
    assert_eq!(all(&told, "set-cookie"), ["csrf=1"], "{told}");
    assert_eq!(
        all(&told, "www-authenticate"),
        ["Bearer realm=\"x\"", "Basic realm=\"y\""]
    );
    let told = get(&gateway, "/", "X-Answer: 403\r\n");
    assert!(
        all(&told, "set-cookie").is_empty() && !told.contains("no!"),
        "{told}"
    );
    // A session that was renewed is not lost with the request.
    let yaml = config(
        server.address,
        "127.0.0.1:1".parse().expect("an address"),
        "",
        "",
    );
    let gateway = Gateway::start(&yaml);
    let told = get(&gateway, "/", "X-Answer: 200-cookie\r\n");
    assert_eq!(
        (status_of(&told), reason(&told)),
        (502, "upstream/connect-failed")
    );
    assert_eq!(all(&told, "set-cookie"), ["s=2; Secure", "t=3"], "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_led_to_the_sign_in_page_and_nowhere_else() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let sign_in = ", signIn: 'https://login.example/start?rd={url}'";
    let gateway = Gateway::start(&config(server.address, backend.address, sign_in, ""));
    let navigates = "Sec-Fetch-Mode: navigate\r\n";
    for (method, target, headers, status) in [
        ("GET", "/a?b=c&d=//evil.example", navigates, 302),
        ("HEAD", "/a?b=c&d=//evil.example", navigates, 302),
        (
            "GET",
            "/a?b=c&d=//evil.example",
            "Accept: text/html,*/*;q=0.8\r\n",
            302,
        ),
        (
            "GET",
            "/a",
            "Sec-Fetch-Mode: cors\r\nAccept: text/html\r\n",
            401,
        ),
        ("GET", "/a", "Accept: application/json\r\n", 401),
        (
            "GET",
            "/a",
            "Accept: text/html\r\nX-Requested-With: XMLHttpRequest\r\n",
            401,
        ),
        ("GET", "/a", "", 401),
        ("POST", "/a", navigates, 401),
        ("OPTIONS", "/a", navigates, 401),
    ] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: a.example:444\r\nX-Answer: 401\r\nX-Forwarded-Host: evil.example\r\n{headers}Connection: close\r\n\r\n"
        );
        let told = raw(gateway.http(), request.as_bytes());
        assert_eq!(status_of(&told), status, "{method} {headers}: {told}");
        if status == 302 {
            assert_eq!(
                all(&told, "location"),
                [
                    "https://login.example/start?rd=http%3A%2F%2Fa.example%3A444%2Fa%3Fb%3Dc%26d%3D%2F%2Fevil.example"
                ]
            );
            assert_eq!(all(&told, "set-cookie"), ["csrf=1"]);
            assert_eq!(all(&told, "cache-control"), ["no-store"]);
            assert_eq!(reason(&told), "authentication/sign-in");
        }
    }
    // Only 401 asks who somebody is.
    for (answer, status) in [("403", 403), ("500", 500), ("302", 500), ("closes", 503)] {
        let told = get(&gateway, "/", &format!("{navigates}X-Answer: {answer}\r\n"));
        assert_eq!(status_of(&told), status, "{answer}");
        assert!(all(&told, "location").is_empty(), "{answer}");
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_remembered_for_whom_they_are_and_no_longer_than_their_settings() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let cache = ", cache: {key: {headers: [Cookie, X-Answer], client: false}, refusedTime: 1m}";
    let yaml = config(server.address, backend.address, cache, "").replace(
        "accessLists:",
        "- {name: other, external: {backend: auth, path: '/auth?team=a', cache: {}}}\naccessLists:",
    );
    let gateway = Gateway::start(&yaml);
    let ask = |path: &str, headers: &str| {
        let before = server.heads().len();
        let told = get(&gateway, path, headers);
        (status_of(&told), server.heads().len() - before)
    };
    const ANNA: &str = "Cookie: s=anna\r\nX-Answer: 200\r\n";
    assert_eq!(ask("/", ANNA), (200, 1));
    assert_eq!(ask("/", ANNA), (200, 0));
    let seen = backend.last();
    assert_eq!(seen.header("x-auth-user"), "anna");
    assert_eq!(ask("/", &format!("{ANNA}User-Agent: other\r\n")), (200, 0));
    for (path, headers) in [
        ("/other", ANNA),
        ("/?x", ANNA),
        ("/", "Cookie: s=bert\r\nX-Answer: 200\r\n"),
        ("/", "X-Answer: 200\r\n"),
        ("/", "Cookie: s=ann\r\nCookie: a\r\nX-Answer: 200\r\n"),
    ] {
        assert_eq!(ask(path, headers), (200, 1), "{path} {headers}");
    }
    assert_eq!(ask("/", "Cookie: s=x\r\nX-Answer: 403\r\n"), (403, 1));
    assert_eq!(ask("/", "Cookie: s=x\r\nX-Answer: 403\r\n"), (403, 1));
    assert_eq!(ask("/", "X-Answer: 500\r\n"), (500, 1));
    assert_eq!(ask("/", "X-Answer: 500\r\n"), (500, 1));
    assert_eq!(ask("/", "X-Answer: 200-cookie\r\n"), (200, 1));
    assert_eq!(ask("/", "X-Answer: 200-cookie\r\n"), (200, 1));
    // Another authentication has its own, also where it asks the same.
    let post = |headers: &str| {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let before = server.heads().len();
        let told = raw(gateway.http(), request.as_bytes());
        (status_of(&told), server.heads().len() - before)
    };
    assert_eq!(post(ANNA), (200, 1));
    // A reload that changes nothing of it keeps what is remembered.
    gateway.reload(&yaml.replace("name: any", "name: renamed"));
    assert_eq!(ask("/", ANNA), (200, 0));
    gateway.reload(&yaml.replace("authentication: [sso]", "authentication: [other]"));
    assert_eq!(ask("/", ANNA), (200, 1));
    gateway.reload(&yaml.replace("team=a', response", "team=b', response"));
    assert_eq!(ask("/", ANNA), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_and_streams_wait_for_the_verdict() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let gateway = Gateway::start(&config(server.address, backend.address, "", ""));
    let upgrade = |answer: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: a.example\r\nX-Answer: {answer}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let mut client = Raw::connect(gateway.http());
    let told = client.send(upgrade("200-cookie").as_bytes()).response();
    assert_eq!(status_of(&told), 101, "{told}");
    assert_eq!(all(&told, "set-cookie"), ["s=2; Secure", "t=3"]);
    let heads = server.heads();
    let asked = heads.last().expect("a question");
    assert!(all(asked, "upgrade").is_empty() && all(asked, "sec-websocket-key").is_empty());
    let mut client = Raw::connect(gateway.http());
    let told = client.send(upgrade("401").as_bytes()).response();
    assert_eq!(status_of(&told), 401, "{told}");
    // A frame that follows is no request and reaches nobody.
    client.send(b"\x81\x85\0\0\0\0hello");
    assert!(client.ends());
    // Chunks that come before the verdict are not lost, and go to the backend alone.
    let chunked = "POST / HTTP/1.1\r\nHost: a.example\r\nX-Answer: 200\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(status_of(&raw(gateway.http(), chunked.as_bytes())), 200);
    assert_eq!(backend.last().body_len, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_http2_is_asked_as_well() {
    let (server, backend) = (Backend::start("auth").await, Backend::start("one").await);
    for (path, status) in [("/auth", 200), ("/status/401", 401), ("/status/500", 500)] {
        for method in ["GET", "POST"] {
            let yaml = config(
                server.address,
                backend.address,
                &format!(", method: {method}"),
                "",
            )
            .replace("'/auth?team=a'", path)
            .replace("name: auth, ", "name: auth, protocol: http2, ");
            let gateway = Gateway::start(&yaml);
            for _ in 0..2 {
                let told = get(&gateway, "/", "Cookie: a=1\r\n");
                assert_eq!(status_of(&told), status, "{path} {method}: {told}");
            }
            let asked = server.last();
            assert_eq!(
                (asked.method.as_str(), asked.version.as_str()),
                (method, "HTTP/2.0")
            );
            assert_eq!(asked.header("cookie"), "a=1");
        }
    }
    // Questions of one gateway share a connection.
    assert_eq!(server.connections(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_must_all_pass_and_an_address_may_stand_for_them() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let folder = || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let users = "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";
        std::fs::write(folder.path().join("users"), users).expect("writable");
        folder
    };
    let yaml = |policies: &str| {
        config(server.address, backend.address, "", policies)
            .replace(
                "authentications:",
                "authentications:\n- {name: staff, basic: {users: users, userHeader: X-Auth-User}}",
            )
            .replace("authentication: [sso]", "authentication: [staff, sso]")
    };
    let gateway = Gateway::start_in(folder(), &yaml(""), &[]);
    let anna = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    for (headers, status) in [
        (format!("{anna}X-Answer: 200\r\n"), 200),
        (format!("{anna}X-Answer: 401\r\n"), 401),
        (format!("{anna}X-Answer: 500\r\n"), 500),
        ("X-Answer: 200\r\n".to_owned(), 401),
    ] {
        let told = get(&gateway, "/", &headers);
        assert_eq!(status_of(&told), status, "{headers}: {told}");
    }
    // What ends at one is not sent to the next, and the last has the last word.
    assert!(
        server
            .heads()
            .iter()
            .all(|head| all(head, "authorization").is_empty())
    );
    assert_eq!(
        backend.last().headers.get_all("x-auth-user").iter().count(),
        1
    );

    for (access, answer, status) in [
        ("[here]", "401", 200),
        ("[here]", "closes", 200),
        ("[elsewhere]", "200", 200),
        ("[elsewhere]", "401", 401),
        ("[elsewhere]", "403", 403),
        ("[elsewhere]", "500", 500),
        ("[elsewhere]", "closes", 503),
    ] {
        let policies = format!(", access: {access}, satisfy: any");
        let gateway = Gateway::start(&config(server.address, backend.address, "", &policies));
        let told = get(
            &gateway,
            "/",
            &format!("X-Auth-User: root\r\nX-Answer: {answer}\r\n"),
        );
        assert_eq!(status_of(&told), status, "{access} {answer}: {told}");
        if status == 200 {
            assert_ne!(backend.last().header("x-auth-user"), "root");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_costs_its_time_and_holds_up_nobody_else() {
    let (server, backend) = (server().await, Backend::start("one").await);
    let yaml = config(server.address, backend.address, ", timeout: 300ms", "");
    let gateway = Arc::new(Gateway::start(&yaml));
    let begun = Instant::now();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let gateway = Arc::clone(&gateway);
            tokio::task::spawn_blocking(move || {
                status_of(&get(&gateway, "/", "X-Answer: silent\r\n"))
            })
        })
        .collect();
    assert_eq!(status_of(&get(&gateway, "/", "X-Answer: 200\r\n")), 200);
    for waited in waiting {
        assert_eq!(waited.await.expect("no panic"), 503);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(backend.requests(), 1);
}
