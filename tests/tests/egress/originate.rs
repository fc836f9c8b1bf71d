//! Plain requests that are sent over TLS.

use std::{fs, net::SocketAddr, process::Command};

use portcullis_tests::{Authority, Backend, Nobody, Raw, Squid, raw, replace, status_of, wait_for};
use serde_json::Value;

use super::site::{PUBLIC, Site, allow, config, reason};

const TRUST: &str = "tlsOrigination: {trust: trust.crt}";
const TOKEN: &str = "s3cret-of-the-destination";

/// A proxy before a destination that speaks TLS for `api.example` and `other.example`, on the ports
/// 443 and 8443; on port 80 of the same address is one in clear.
struct Originated {
    site: Site,
    tls: Backend,
    clear: Backend,
}

impl Originated {
    async fn start(entries: &str) -> Self {
        Self::start_with("", TRUST, &allow(entries)).await
    }

    async fn start_with(before: &str, more: &str, policies: &str) -> Self {
        let destinations = Authority::named("authority of destinations");
        let server = destinations.server(&["api.example"], &["h2", "http/1.1"]);
        let tls = Backend::start_tls("tls", server).await;
        let clear = Backend::start("clear").await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let other = Authority::named("of nobody").pem();
        for (name, text) in [
            ("trust.crt", destinations.pem()),
            ("other.crt", other),
            ("token", TOKEN.to_owned()),
        ] {
            fs::write(folder.path().join(name), text).expect("writable");
        }
        let dns = ["api", "other"].map(|name| format!("{name}.example={PUBLIC}"));
        let dns = dns.each_ref().map(String::as_str);
        let at: Vec<(String, SocketAddr)> =
            [(443, tls.address), (8443, tls.address), (80, clear.address)]
                .map(|(port, address)| (format!("{PUBLIC}:{port}"), address))
                .into();
        let map: Vec<_> = at.iter().map(|(from, to)| (from.as_str(), *to)).collect();
        let config = format!("{before}\n{}", config(more, policies));
        Self {
            site: Site::start_in(folder, &config, &dns, &map),
            tls,
            clear,
        }
    }

    /// What answers a request with these fields and this body.
    fn ask(&self, line: &str, fields: &str, body: &str) -> String {
        let length = body.len();
        let request =
            format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{fields}\r\n{body}");
        raw(self.site.proxy(), request.as_bytes())
    }

    /// A record that says this.
    fn told(&self, field: &str, says: &str) -> Value {
        self.site.told("api.example", field, says)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_reaches_a_destination_over_tls_and_is_told() {
    let proxy = Originated::start(
        "[{host: api.example, ports: [443, 8443], originateTls: true, paths: [/open]}, {host: api.example, ports: [80]}]",
    )
    .await;
    for (url, host) in [
        ("http://api.example/open/a?x=1", "api.example"),
        ("http://API.example.:80/open/../open/a?x=1", "api.example"),
        ("http://api.example:8443/open/a?x=1", "api.example:8443"),
        ("http://api.example:443/open/a?x=1", "api.example"),
    ] {
        let output = Command::new("curl")
            .args(["-sS", "--path-as-is", "--max-time", "10", "--data", "some"])
            .args(["--proxy", &format!("http://{}", proxy.site.proxy()), url])
            .output()
            .expect("curl runs");
        let told = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text, "tls /open/a?x=1", "{url}: {told}");
        let seen = proxy.tls.last();
        assert_eq!(seen.header("host"), host, "{url}");
        assert_eq!(seen.method, "POST");
        assert_eq!(seen.body_sha256, portcullis_tests::sha256(b"some"));
        for field in ["proxy-connection", "connection", "x-forwarded-for"] {
            assert_eq!(seen.header(field), "", "{url} {field}");
        }
    }
    let record = proxy.told("method", "POST");
    assert_eq!(record["port"], 443);
    assert_eq!(record["originatedTls"], true, "{record}");
    assert_eq!(record["method"], "POST");
    assert_eq!(record["path"], "/open/a");
    assert_eq!(record["rule"], "api.example");
    assert_eq!(record["dialled"], format!("{PUBLIC}:443"));
    assert_eq!(record["status"], 200);
    assert_eq!(record["bytesUp"], "some".len());
    assert_eq!(record["bytesDown"], "tls /open/a?x=1".len());
    assert!(record["tunnel"].is_null(), "{record}");
    assert!(!record.to_string().contains("x=1"), "{record}");
    // The bytes count among those that went out.
    let out = r#"portcullis_egress_bytes_total{direction="up"}"#;
    assert!(proxy.site.gateway.metric(out) >= Some(16.0));
    // It goes so, or nowhere: not in clear, though that is allowed elsewhere.
    let answer = proxy.ask("GET http://api.example/shut", "", "");
    assert_eq!(reason(&answer), "egress/request_not_allowed", "{answer}");
    assert_eq!((proxy.tls.requests(), proxy.clear.requests()), (4, 0));
    // One request, and the end of the connection.
    let two = "GET http://api.example/open HTTP/1.1\r\nHost: x\r\n\r\nGET http://api.example/open/2 HTTP/1.1\r\nHost: x\r\n\r\n";
    let answers = raw(proxy.site.proxy(), two.as_bytes());
    assert_eq!(status_of(&answers), 200);
    assert!(answers.contains("connection: close\r\n"), "{answers}");
    assert!(answers.contains("x-request-id: "), "{answers}");
    assert_eq!(proxy.tls.requests(), 5, "{:?}", proxy.tls.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_prove_the_name_gets_nothing() {
    let entries = "[{host: '*.example', publicSuffix: true, originateTls: true}]";
    let proxy = Originated::start(entries).await;
    let answer = proxy.ask("POST http://other.example/", "", "some");
    assert_eq!(status_of(&answer), 502, "{answer}");
    assert_eq!(reason(&answer), "egress/upstream_untrusted", "{answer}");
    let record = proxy.site.audit("other.example");
    assert_eq!(record["verdict"], "error", "{record}");
    assert_eq!(record["reason"], "upstream_untrusted", "{record}");
    // By authorities that are not trusted any more neither.
    assert_eq!(
        status_of(&proxy.ask("GET http://api.example/", "", "")),
        200
    );
    let untrusting = TRUST.replace("trust.crt", "other.crt");
    let gateway = &proxy.site.gateway;
    gateway.reload(&config(&untrusting, &allow(entries)));
    let answer = proxy.ask("POST http://api.example/", "", "some");
    assert_eq!(reason(&answer), "egress/upstream_untrusted", "{answer}");
    // One in clear is none.
    assert_eq!((proxy.tls.requests(), proxy.clear.requests()), (1, 0));
    // A file that is broken is told, and the last good one stays.
    let file = gateway.folder().join("other.crt");
    replace(&file, "nothing");
    wait_for("the reload", || {
        gateway.metric("portcullis_config_stale_since_timestamp_seconds") > Some(0.0)
    });
    assert_eq!(
        reason(&proxy.ask("GET http://api.example/", "", "")),
        "egress/upstream_untrusted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_the_waf_work_without_a_certificate_on_the_client() {
    let entries = "[{host: api.example, originateTls: true, waf: out, paths: [/v1], inject: {header: authorization, value: token, prefix: 'Bearer '}}]";
    let waf = r#"wafProfiles: [{name: out, rules: [{inline: 'SecRule REQUEST_BODY "@contains evil" "id:10001,phase:2,deny,status:403"'}, {inline: 'SecRule REQUEST_HEADERS "@contains dG9rZW4" "id:10002,phase:1,deny,status:403"'}]}]"#;
    let proxy = Originated::start_with(waf, TRUST, &allow(entries)).await;
    let text = "Content-Type: text/plain\r\n";
    // By what a client shows who it is nothing leaves, and no rule sees it.
    let shown = format!("{text}Proxy-Authorization: Basic dG9rZW4=\r\n");
    let answer = proxy.ask("POST http://api.example/v1/x", &shown, "good");
    assert_eq!(status_of(&answer), 200, "{answer}");
    let expected = format!("Bearer {TOKEN}");
    assert_eq!(proxy.tls.last().header("authorization"), expected);
    proxy.told("injected", "authorization");
    for (line, fields, body, code) in [
        ("POST http://api.example/v1/x", text, "evil", "waf_blocked"),
        (
            "POST http://api.example/v1/x",
            "Authorization: Bearer mine\r\n",
            "",
            "foreign_credential",
        ),
        (
            "POST http://api.example/v2",
            text,
            "good",
            "request_not_allowed",
        ),
        ("TRACE http://api.example/v1", "", "", "trace_refused"),
        (
            "GET http://api.example/v1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "",
            "upgrade_refused",
        ),
    ] {
        let answer = proxy.ask(line, fields, body);
        assert_eq!(
            reason(&answer),
            format!("egress/{code}"),
            "{line}: {answer}"
        );
        assert!(!answer.contains(TOKEN));
        proxy.told("reason", code);
    }
    // A tunnel would go round both.
    let (_, answer) = proxy.site.connect("api.example:443");
    assert_eq!(reason(&answer), "egress/request_not_allowed", "{answer}");
    assert_eq!(proxy.tls.requests(), 1);
    let lines = format!("{:?}", proxy.site.gateway.audit_lines());
    assert!(!lines.contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_ends_with_its_policy_its_quota_and_its_time() {
    let entries = "[{host: api.example, originateTls: true, quota: {bytesOut: 3000B, window: 1d}}]";
    let proxy = Originated::start(entries).await;
    let body = "x".repeat(5000);
    let answer = proxy.ask("POST http://api.example/", "", &body);
    assert_ne!(status_of(&answer), 200, "{answer}");
    proxy.told("ended", "quota_bytes_out");
    assert_eq!(proxy.tls.requests(), 0);
    let answer = proxy.ask("GET http://api.example/", "", "");
    assert_eq!(reason(&answer), "egress/quota_bytes_out", "{answer}");

    let proxy = Originated::start("[{host: api.example, originateTls: true}]").await;
    let sleep = b"GET http://api.example/sleep/20000 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut waiting = Raw::connect(proxy.site.proxy());
    waiting.send(sleep);
    wait_for("the request", || proxy.tls.connections() == 1);
    let gateway = &proxy.site.gateway;
    gateway.reload(&config(TRUST, &allow("[other.example]")));
    assert!(waiting.ends());
    proxy.told("ended", "policy_changed");
    // What goes in clear ends when it is to go over TLS.
    let clear = allow("[{host: api.example, ports: [80]}]");
    gateway.reload(&config(TRUST, &clear));
    let mut waiting = Raw::connect(proxy.site.proxy());
    waiting.send(sleep);
    wait_for("the request", || proxy.clear.connections() == 1);
    let both = allow("[{host: api.example, ports: [80]}, {host: api.example, originateTls: true}]");
    gateway.reload(&config(TRUST, &both));
    assert!(waiting.ends());
    let (_, answer) = proxy.site.connect("api.example:80");
    assert_eq!(reason(&answer), "egress/clear_refused", "{answer}");
    let limited = format!("{TRUST}\n  limits: {{maxLifetime: 2s}}");
    let policies = allow("[{host: api.example, originateTls: true}]");
    gateway.reload(&config(&limited, &policies));
    assert!(Raw::connect(proxy.site.proxy()).send(sleep).ends());
    proxy.told("ended", "max_lifetime");
    // Of a destination that is not there it is told.
    let nobody = Nobody::here();
    let dns = format!("api.example={PUBLIC}");
    let at = format!("{PUBLIC}:443");
    let site = Site::start(&policies, &[&dns], &[(&at, nobody.address)]);
    let answer = site.get("http://api.example/");
    assert_eq!(reason(&answer), "egress/connect_failed", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_an_upstream_proxy_it_is_a_tunnel() {
    let Some(squid) = Squid::start("bob", "s3cret word") else {
        return;
    };
    let destinations = Authority::named("authority of destinations");
    let server = destinations.server(&["api.example"], &["http/1.1"]);
    let backend = Backend::start_tls("tls", server).await;
    let port = backend.address.port();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [
        ("trust.crt", destinations.pem()),
        ("login", "bob:s3cret word".to_owned()),
    ] {
        fs::write(folder.path().join(name), text).expect("writable");
    }
    let more = format!(
        "{TRUST}\n  upstreamProxies: [{{name: squid, addresses: ['{}'], credentials: login, resolve: proxy}}]",
        squid.address
    );
    let entries = format!("[{{host: api.example, originateTls: true, ports: [{port}]}}]");
    let site = Site::start_in(folder, &config(&more, &allow(&entries)), &[], &[]);
    let answer = site.get(&format!("http://api.example:{port}/x"));
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert_eq!(backend.last().target, "/x");
    let log = || squid.access_log().join("\n");
    let tunnel = format!("CONNECT api.example:{port}");
    wait_for("the log of Squid", || log().contains(&tunnel));
    assert!(!log().contains("GET http://"), "{}", log());
}
