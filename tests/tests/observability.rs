//! What an operator sees: health, metrics, logs, the effective configuration.

use std::io::{Read, Write};

use portcullis_tests::{Backend, Client, Gateway, raw, status_of, wait_for};
use serde_json::{Value, json};

fn config(backend: &Backend) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
accessLists: [{{name: nobody, allow: []}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- {{name: any, hosts: [any.example], rules: [{{backends: [{{name: one}}]}}]}}
- {{name: closed, hosts: [closed.example], policies: {{access: [nobody]}}, rules: [{{backends: [{{name: one}}]}}]}}
",
        backend.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_with_bounded_labels() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend));
    let mut client = Client::h1(gateway.http()).await;
    for _ in 0..3 {
        client.get("any.example", "/").await.expect("an answer");
    }
    client.get("closed.example", "/").await.expect("an answer");
    for n in 0..50 {
        // What a client makes up becomes no label.
        let request =
            format!("M{n} /{n} HTTP/1.1\r\nHost: made-up-{n}.example\r\nConnection: close\r\n\r\n");
        raw(gateway.http(), request.as_bytes());
    }
    let (status, text) = gateway.management("/metrics");
    assert_eq!(status, 200);
    for (series, value) in [
        (
            r#"portcullis_requests_total{listener="http",method="GET",rule="any/0",status="2xx"}"#,
            3.0,
        ),
        (
            r#"portcullis_requests_total{listener="http",method="GET",rule="closed/0",status="4xx"}"#,
            1.0,
        ),
        (
            r#"portcullis_requests_total{listener="http",method="OTHER",rule="none",status="4xx"}"#,
            50.0,
        ),
        (
            r#"portcullis_request_duration_seconds_count{rule="any/0"}"#,
            3.0,
        ),
        (
            r#"portcullis_upstream_requests_total{backend="one",outcome="answered"}"#,
            3.0,
        ),
        (
            r#"portcullis_refusals_total{reason="not-allowed",stage="access"}"#,
            1.0,
        ),
        (
            r#"portcullis_refusals_total{reason="no-route",stage="route"}"#,
            50.0,
        ),
        ("portcullis_requests_in_flight", 0.0),
        ("portcullis_config_snapshot", 1.0),
    ] {
        assert_eq!(gateway.metric(series), Some(value), "{series}\n{text}");
    }
    assert!(!text.contains("made-up"), "{text}");
    assert!(text.contains("# HELP portcullis_requests_total"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_tells_no_value_of_a_secret() {
    let backend = Backend::start("one").await;
    let logs = "logs: {access: access.log, audit: audit.log, secrets: [card-number]}\n";
    let gateway = Gateway::start(&(config(&backend) + logs));
    for (target, path, query) in [
        (
            "/a?q=1&Password=hunter2&cardNumber=hunter2&x=y",
            "/a",
            json!("q=1&Password=***&cardNumber=***&x=y"),
        ),
        ("/a?p%61ss=hunter2", "/a", json!("p%61ss=***")),
        ("/a?next=%2Fcb%3Ftoken%3Dhunter2", "/a", json!("next=***")),
        ("/a;jsessionid=hunter2/b", "/a;jsessionid=***", Value::Null),
        ("/a=b?c=d@e", "/a=b", json!("c=d@e")),
        // What is behind the end of a line is not half told either.
        (
            &format!("/a?x={}&token=hunter2", "x".repeat(500)),
            "/a",
            json!(format!("x={}&token=***", "x".repeat(500))),
        ),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.http(), request.as_bytes()).to_ascii_lowercase();
        let id = answer
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "));
        let line = gateway.access_line(id.expect("an id").trim());
        let query = match &query {
            Value::String(text) => json!(&text[..text.len().min(512)]),
            none => none.clone(),
        };
        assert_eq!((&line["path"], &line["query"]), (&json!(path), &query));
        assert!(!line.to_string().contains("hunter2"), "{line}");
        assert_eq!(backend.last().target, target, "the backend gets all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_told_apart_from_admin() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(gateway.management(path).0, 200, "{path}");
        assert_eq!(gateway.admin(path).0, 404, "{path}");
    }
    assert_eq!(gateway.admin("/audit?limit=many").0, 400);
    for path in ["/config", "/config/problems", "/audit"] {
        assert_eq!(gateway.admin(path).0, 200, "{path}");
        assert_eq!(
            gateway.management(path).0,
            404,
            "{path}: not on the network"
        );
    }
    // A page in a browser of the machine may not read it (DNS rebinding).
    let answer = raw(
        gateway.at("admin"),
        b"GET /config HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status_of(&answer), 403, "{answer}");
    for request in ["POST /config", "DELETE /config", "GET /%2e%2e/config"] {
        let bytes = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            gateway.at("admin")
        );
        assert!(
            status_of(&raw(gateway.at("admin"), bytes.as_bytes())) >= 400,
            "{request}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_endpoint_may_be_a_socket_file_for_its_owner() {
    let backend = Backend::start("one").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("admin.sock");
    let yaml = format!(
        "{}admin: {{address: 'unix:{}'}}\n",
        config(&backend),
        socket.display()
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("it is there");
    stream
        .write_all(b"GET /config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("open");
    assert_eq!(status_of(&answer), 200, "{answer}");
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&socket).expect("it is there"));
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_effective_configuration_is_shown_without_secrets() {
    let backend = Backend::start("one").await;
    let authority = portcullis_tests::Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "any", &["any.example"]);
    let key = std::fs::read_to_string(folder.path().join("any.key")).expect("a key");
    let yaml =
        config(&backend) + "certificates: [{name: any, certificate: any.crt, key: any.key}]\n";
    let yaml = yaml.replacen(
        "rules: [{",
        "rules: [{requestHeaders: {set: {Authorization: Bearer hunter2}}, ",
        1,
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let (_, dump) = gateway.admin("/config");
    assert!(dump.contains("any.example"), "{dump}");
    // Effective: what the file does not say is there with its default.
    for value in ["maxBodySize: 10MiB", "idleTimeout: 1m15s", "keepalive: 4s"] {
        assert!(dump.contains(value), "{value}\n{dump}");
    }
    assert!(dump.contains("Authorization: \"***\""), "{dump}");
    assert!(!dump.contains("hunter2"), "{dump}");
    for line in key
        .lines()
        .filter(|line| line.len() > 10 && !line.starts_with("---"))
    {
        assert!(!dump.contains(line), "{dump}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_is_one_line_whatever_the_client_sends() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend));
    let request = "GET /a%22b?x=%0d%0a\"}{ HTTP/1.1\r\nHost: any.example\r\nUser-Agent: \"quoted\\\" \u{e9}\tend\r\nX-Request-Id: spoofed\r\nConnection: close\r\n\r\n".replace("\"}{", "%22");
    let answer = raw(gateway.http(), request.as_bytes());
    assert_eq!(status_of(&answer), 200, "{answer}");
    wait_for("the line", || gateway.access_lines().len() == 1);
    let text = std::fs::read_to_string(gateway.folder().join("access.log")).expect("a log");
    assert_eq!(text.lines().count(), 1, "{text}");
    let line = &gateway.access_lines()[0];
    assert_eq!(line["path"], "/a%22b");
    assert_ne!(
        line["requestId"], "spoofed",
        "nobody is trusted to choose it"
    );
    for field in [
        "time",
        "listener",
        "client",
        "method",
        "host",
        "status",
        "durationMs",
        "rule",
        "backend",
    ] {
        assert!(!line[field].is_null(), "{field}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_opened_again_after_a_rotation() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend));
    let mut client = Client::h1(gateway.http()).await;
    client.get("any.example", "/1").await.expect("an answer");
    wait_for("the line", || gateway.access_lines().len() == 1);
    let log = gateway.folder().join("access.log");
    std::fs::rename(&log, gateway.folder().join("access.log.1")).expect("it is there");
    gateway.signal("HUP");
    wait_for("the new file", || log.exists());
    client.get("any.example", "/2").await.expect("an answer");
    wait_for("the line", || gateway.access_lines().len() == 1);
    assert_eq!(gateway.access_lines()[0]["path"], "/2");
}
