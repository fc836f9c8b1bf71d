//! Who a client is, and what its backend is told of it.

use std::{fs, net::SocketAddr, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use http_body_util::Full;
use portcullis_tests::{Authority, Backend, Client, Gateway, Raw, raw, status_of, wait_for};

/// `secret`, with bcrypt of the least cost, SHA-crypt, MD5-crypt and SHA-1.
const USERS: &str = "\
anna:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW
bert:$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.
carl:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/
dora:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
";

fn start(yaml: &str) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("users"), USERS).expect("writable");
    Gateway::start_in(folder, yaml, &[])
}

/// A gateway with one backend; `basic` adds to the authentication and `rules` are its rules.
fn config(backend: &Backend, basic: &str, rules: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
authentications:
- {{name: staff, basic: {{users: users{basic}}}}}
accessLists: [{{name: here, allow: [127.0.0.0/8]}}, {{name: elsewhere, allow: [10.0.0.0/8]}}, {{name: pests, deny: [127.0.0.0/8]}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: any
  policies: {{authentication: [staff]}}
  rules: [{rules}]
",
        backend.address
    )
}

const ALL: &str = "{backends: [{name: one}]}";

fn basic(credentials: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

fn get(gateway: SocketAddr, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{headers}Connection: close\r\n\r\n");
    raw(gateway, request.as_bytes())
}

fn reason(answer: &str) -> &str {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("x-portcullis-reason: "))
        .unwrap_or_default()
}

fn decisions(gateway: &Gateway, name: &str, verdict: &str) -> Option<f64> {
    gateway.metric(&format!(
        "portcullis_authentications_total{{authentication=\"{name}\",verdict=\"{verdict}\"}}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_its_password_pass_and_nothing_else_reaches_the_backend() {
    let backend = Backend::start("one").await;
    let gateway = start(&config(&backend, ", realm: 'The \"shop\"'", ALL));
    for name in ["anna", "bert", "carl", "dora"] {
        let answer = get(gateway.http(), "/", &basic(&format!("{name}:secret")));
        assert_eq!(status_of(&answer), 200, "{name}: {answer}");
    }
    let passed = backend.requests();
    for (headers, why) in [
        (String::new(), "credentials-missing"),
        (
            "Authorization: Bearer x\r\n".to_owned(),
            "credentials-missing",
        ),
        (basic("anna:wrong"), "credentials-wrong"),
        (basic("nobody:secret"), "credentials-wrong"),
        (basic("bert:"), "credentials-wrong"),
        ("Authorization: Basic !\r\n".to_owned(), "credentials-wrong"),
        (
            basic("anna:secret") + &basic("anna:secret"),
            "credentials-wrong",
        ),
        // Nobody may have the credentials taken away on the way, or bring others in.
        (
            "Connection: Authorization\r\n".to_owned() + &basic("anna:wrong"),
            "credentials-wrong",
        ),
        (
            "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n".to_owned(),
            "credentials-missing",
        ),
    ] {
        let answer = get(gateway.http(), "/", &headers);
        assert_eq!(status_of(&answer), 401, "{headers}: {answer}");
        assert_eq!(
            reason(&answer),
            format!("authentication/{why}"),
            "{headers}"
        );
        let challenge = r#"www-authenticate: Basic realm="The \"shop\"", charset="UTF-8""#;
        assert!(
            answer.to_lowercase().contains(&challenge.to_lowercase()),
            "{answer}"
        );
    }
    assert_eq!(backend.requests(), passed);
    assert_eq!(decisions(&gateway, "staff", "pass"), Some(4.0));
    assert_eq!(decisions(&gateway, "staff", "deny"), Some(9.0));
    wait_for("the log", || gateway.access_lines().len() == 13);
    let users: Vec<_> = gateway
        .access_lines()
        .iter()
        .map(|line| line["user"].as_str().unwrap_or("-").to_owned())
        .collect();
    assert_eq!(users[..5], ["anna", "bert", "carl", "dora", "-"]);
    let text = fs::read_to_string(gateway.folder().join("access.log")).expect("a log");
    assert!(!text.contains("secret") && !text.contains("YW5u"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_is_told_and_the_connection_goes_on() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("users"), USERS).expect("writable");
    authority.write(folder.path(), "tls", &["a.example"]);
    let yaml = config(&backend, "", ALL).replace(
        "listeners: [",
        "certificates: [{name: a, certificate: tls.crt, key: tls.key}]\nlisteners: [{name: https, protocol: https, address: '127.0.0.1:0'}, ",
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    for h2 in [false, true] {
        let mut client = Client::tls(gateway.https(), &authority, "a.example", h2)
            .await
            .expect("a handshake");
        let mut statuses = Vec::new();
        for credentials in ["", "anna:wrong", "anna:secret", "anna:secret"] {
            let mut request =
                Request::get(client.uri("a.example", "/")).header("host", "a.example");
            if h2 {
                request = Request::get(client.uri("a.example", "/"));
            }
            if !credentials.is_empty() {
                let value = format!("Basic {}", STANDARD.encode(credentials));
                request = request.header("authorization", value);
            }
            let request = request.body(Full::default()).expect("a request");
            let answer = client.send(request).await.expect("an answer");
            let challenged = answer.headers().contains_key("www-authenticate");
            assert_eq!(challenged, answer.status() == 401, "{answer:?}");
            statuses.push(answer.status().as_u16());
        }
        assert_eq!(statuses, [401, 401, 200, 200], "h2: {h2}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_is_told_the_name_and_believes_no_client() {
    let backend = Backend::start("one").await;
    let rules = "{matches: [{path: {prefix: /open}}], policies: {authentication: []}, backends: [{name: one}]}, \
        {matches: [{path: {prefix: /set}}], requestHeaders: {set: {X-User: rule}}, backends: [{name: one}]}, \
        {backends: [{name: one}]}";
    let gateway = start(&config(&backend, ", userHeader: X-User", rules));
    let forged = "X-User: root\r\nx-user: root\r\nX_User: root\r\n";
    let anna = basic("anna:secret");
    for (path, headers, user) in [
        ("/", format!("{anna}{forged}"), "anna"),
        ("/", anna.clone(), "anna"),
        ("/set", format!("{anna}{forged}"), "rule"),
        // Another route to the same backend is no way around it.
        ("/open", forged.to_owned(), ""),
        ("/open", format!("{anna}{forged}"), ""),
    ] {
        let answer = get(gateway.http(), path, &headers);
        assert_eq!(status_of(&answer), 200, "{path} {headers}: {answer}");
        let seen = backend.last();
        assert_eq!(seen.header("x-user"), user, "{path} {headers}");
        assert_eq!(
            seen.headers.get_all("x-user").iter().count(),
            usize::from(!user.is_empty())
        );
        assert!(!seen.headers.contains_key("x_user"), "{path} {headers}");
        // Who checks no password needs none; a route without a say leaves it alone.
        let kept = path == "/open" && headers.contains("Basic");
        assert_eq!(
            seen.headers.contains_key("authorization"),
            kept,
            "{path} {headers}"
        );
    }
    let gateway = start(&config(&backend, ", forwardCredentials: true", ALL));
    assert_eq!(status_of(&get(gateway.http(), "/", &anna)), 200);
    assert_eq!(
        backend.last().header("authorization"),
        "Basic YW5uYTpzZWNyZXQ="
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_asked_for_before_the_verdict() {
    let backend = Backend::start("one").await;
    let gateway = start(&config(&backend, "", ALL));
    let post = |credentials: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 20\r\nExpect: 100-continue\r\n{credentials}\r\n"
        )
    };
    let mut refused = Raw::connect(gateway.http());
    let answer = refused.send(post("").as_bytes()).response();
    assert_eq!(status_of(&answer), 401, "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    // What comes all the same is no other request.
    refused.send(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!refused.read_all().contains("HTTP/1.1"));
    assert_eq!(backend.requests(), 0);

    let mut passes = Raw::connect(gateway.http());
    let answer = passes
        .send(post(&basic("anna:secret")).as_bytes())
        .response();
    assert_eq!(status_of(&answer), 100, "{answer}");
    let answer = passes.send(b"twenty bytes of body").response();
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert_eq!(backend.last().body_len, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_passes_as_nobody_unless_it_must_authenticate() {
    let backend = Backend::start("one").await;
    let gateway = start(&config(&backend, ", userHeader: X-User", ALL));
    let ask = |gateway: &Gateway, method: &str, headers: &str| {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: a.example\r\nX-User: root\r\n{headers}Connection: close\r\n\r\n"
        );
        status_of(&raw(gateway.http(), request.as_bytes()))
    };
    const PREFLIGHT: &str = "Origin: https://b.example\r\nAccess-Control-Request-Method: PUT\r\n";
    assert_eq!(ask(&gateway, "OPTIONS", PREFLIGHT), 200);
    assert_eq!(backend.last().header("x-user"), "");
    let passed = backend.requests();
    for (method, headers) in [
        ("OPTIONS", ""),
        ("OPTIONS", "Origin: https://b.example\r\n"),
        ("OPTIONS", "Access-Control-Request-Method: PUT\r\n"),
        ("GET", PREFLIGHT),
        ("POST", PREFLIGHT),
        ("OPTIONS", &format!("{PREFLIGHT}Content-Length: 1\r\n")),
        (
            "OPTIONS",
            &format!("{PREFLIGHT}Transfer-Encoding: chunked\r\n"),
        ),
        (
            "OPTIONS",
            &format!("{PREFLIGHT}X-HTTP-Method-Override: PUT\r\n"),
        ),
        (
            "OPTIONS",
            &format!("{PREFLIGHT}X_HTTP_Method_Override: PUT\r\n"),
        ),
        (
            "OPTIONS",
            &format!("{PREFLIGHT}Upgrade: websocket\r\nConnection: upgrade\r\n"),
        ),
    ] {
        assert_eq!(ask(&gateway, method, headers), 401, "{method} {headers}");
    }
    assert_eq!(backend.requests(), passed);
    let yaml = config(&backend, "", ALL)
        .replace("users: users}", "users: users}, preflight: authenticate");
    let strict = start(&yaml);
    assert_eq!(ask(&strict, "OPTIONS", PREFLIGHT), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_https_asks_for_no_password_in_clear_and_others_do() {
    let backend = Backend::start("one").await;
    let rules = "{matches: [{path: {prefix: /moved}}], redirect: {path: /new}}, \
        {matches: [{path: {prefix: /fixed}}], respond: {status: 200}}, \
        {redirect: {scheme: https, status: 308}}";
    let gateway = start(&config(&backend, "", rules));
    let answer = get(gateway.http(), "/a", "");
    assert_eq!(status_of(&answer), 308, "{answer}");
    assert_eq!(status_of(&get(gateway.http(), "/moved", "")), 401);
    assert_eq!(status_of(&get(gateway.http(), "/fixed", "")), 401);
    let answer = get(gateway.http(), "/fixed", &basic("anna:secret"));
    assert_eq!(status_of(&answer), 200, "{answer}");
    let answer = get(gateway.http(), "/moved", &basic("anna:secret"));
    assert_eq!(status_of(&answer), 302, "{answer}");
}

/// ING-22: the challenge of a certificate authority has a rule of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_acme_challenge_passes_where_its_rule_says_so() {
    let (backend, solver) = (Backend::start("one").await, Backend::start("solver").await);
    let rules = "{matches: [{path: {prefix: /.well-known/acme-challenge}}], policies: {authentication: [], access: []}, backends: [{name: solver}]}, \
        {policies: {access: [elsewhere]}, backends: [{name: one}]}";
    let yaml = config(&backend, "", rules).replace(
        "backends: [{name: one, ",
        &format!(
            "backends: [{{name: solver, endpoints: [{{address: {}}}]}}, {{name: one, ",
            solver.address
        ),
    );
    let gateway = start(&yaml);
    let challenge = "/.well-known/acme-challenge/Tok_en-123";
    assert_eq!(status_of(&get(gateway.http(), challenge, "")), 200);
    assert_eq!(solver.last().target, challenge);
    assert_eq!(status_of(&get(gateway.http(), "/", "")), 403);
    for around in [
        "/.well-known/acme-challenge/../../admin",
        "/.well-known/acme-challenge/%2e%2e/%2e%2e/admin",
        "/.well-known/acme-challengex",
    ] {
        assert_ne!(status_of(&get(gateway.http(), around, "")), 200, "{around}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_or_a_password_passes_where_either_satisfies() {
    let backend = Backend::start("one").await;
    for (access, satisfy, anonymous, authenticated) in [
        ("[]", "all", 401, 200),
        ("[here]", "all", 401, 200),
        ("[elsewhere]", "all", 403, 403),
        ("[pests]", "all", 403, 403),
        ("[]", "any", 401, 200),
        ("[here]", "any", 200, 200),
        ("[elsewhere]", "any", 401, 200),
        ("[here, elsewhere]", "any", 401, 200),
        ("[pests]", "any", 403, 403),
        ("[here, pests]", "any", 403, 403),
        ("[elsewhere, pests]", "any", 403, 403),
    ] {
        let rules = format!(
            "{{policies: {{access: {access}, satisfy: {satisfy}}}, backends: [{{name: one}}]}}"
        );
        let gateway = start(&config(&backend, ", userHeader: X-User", &rules));
        let forged = "X-User: root\r\n";
        let case = format!("{access} {satisfy}");
        let answer = get(gateway.http(), "/", forged);
        assert_eq!(status_of(&answer), anonymous, "{case}: {answer}");
        if anonymous == 200 {
            assert_eq!(backend.last().header("x-user"), "", "{case}");
        }
        let answer = get(gateway.http(), "/", &(basic("anna:secret") + forged));
        assert_eq!(status_of(&answer), authenticated, "{case}: {answer}");
        let answer = get(gateway.http(), "/", &basic("anna:wrong"));
        assert_eq!(status_of(&answer), anonymous, "{case}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_counts_and_a_broken_one_leaves_the_last() {
    let backend = Backend::start("one").await;
    let gateway = start(&config(&backend, "", ALL));
    let write = |text: &str| {
        let part = gateway.folder().join("part");
        fs::write(&part, text).expect("writable");
        fs::rename(part, gateway.folder().join("users")).expect("writable");
    };
    let status = |credentials: &str| status_of(&get(gateway.http(), "/", &basic(credentials)));
    assert_eq!(status("anna:secret"), 200);
    write("anna:hunter2\n");
    wait_for("the problem", || {
        gateway
            .management("/metrics")
            .1
            .contains("portcullis_reloads_total{outcome=\"refused\"} 1")
    });
    let (_, problems) = gateway.admin("/config/problems");
    assert!(
        problems.contains("users: line 1: \\\"anna\\\" has a password in plain text"),
        "{problems}"
    );
    assert!(!problems.contains("hunter2") && !gateway.log().contains("hunter2"));
    assert_eq!(status("anna:secret"), 200);
    // What was remembered of the old file is forgotten with it.
    write("eva:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    wait_for("the new file", || status("eva:secret") == 200);
    assert_eq!(status("anna:secret"), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_logins_stalls_nobody_else() {
    let backend = Backend::start("one").await;
    let rules = "{matches: [{path: {prefix: /open}}], policies: {authentication: []}, backends: [{name: one}]}, {backends: [{name: one}]}";
    let gateway = start(&config(&backend, "", rules));
    // Cost 12: a quarter of a second and more for each.
    let slow = "zoe:$2y$12$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
    let before = gateway.metric("portcullis_config_snapshot");
    fs::write(gateway.folder().join("users"), slow.to_owned() + USERS).expect("writable");
    wait_for("the reload", || {
        gateway.metric("portcullis_config_snapshot") > before
    });
    assert_eq!(
        status_of(&get(gateway.http(), "/", &basic("dora:secret"))),
        200
    );
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n",
        basic("zoe:wrong")
    );
    let mut flood: Vec<Raw> = (0..200).map(|_| Raw::connect(gateway.http())).collect();
    for client in &mut flood {
        client.send(request.as_bytes());
    }
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(status_of(&get(gateway.http(), "/open", "")), 200);
        // Who has logged in already does not wait for those who try.
        assert_eq!(
            status_of(&get(gateway.http(), "/", &basic("dora:secret"))),
            200
        );
    }
    let took = begun.elapsed();
    // The hashes of all that try take most of a minute of processor time.
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
    // Those for whom there is no room are told to come back, and nobody passes.
    wait_for("those who are turned away", || {
        decisions(&gateway, "staff", "error").is_some_and(|turned_away| turned_away >= 60.0)
    });
    assert_eq!(decisions(&gateway, "staff", "pass"), Some(21.0));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (users, told) in [
        (None, "users: No such file"),
        (Some("anna:secret\n"), "has a password in plain text"),
    ] {
        match users {
            None => {}
            Some(text) => fs::write(folder.path().join("users"), text).expect("writable"),
        }
        let problems = check(folder.path());
        assert!(
            problems.contains("authentications[0].basic.users"),
            "{problems}"
        );
        assert!(problems.contains(told), "{problems}");
    }
}

fn check(folder: &Path) -> String {
    let yaml = "listeners: [{name: http, protocol: http}]\nauthentications: [{name: staff, basic: {users: users}}]\n";
    fs::write(folder.join("a.yaml"), yaml).expect("writable");
    let output = std::process::Command::new(portcullis_tests::portcullis())
        .args(["check", "a.yaml"])
        .current_dir(folder)
        .output()
        .expect("the binary runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
