//! Upstream proxies, and what is reached without them.

use std::process::Command;

use portcullis_tests::{
    Line, Recorder, Scripted,
    egress_site::{PUBLIC, Site, allow, reason},
    status_of,
};

const PUBLIC_V6: &str = "2606:2800:21f:cb07:6820:80da:af6b:8b2c";

/// An upstream proxy that gives each request this answer and closes.
async fn upstream(answer: &'static str) -> Scripted {
    Scripted::start(move |mut line: Line| async move {
        line.head().await;
        line.send(answer.as_bytes()).await;
    })
    .await
}

const OPENED: &str = "HTTP/1.1 200 OK\r\n\r\n";

fn site(upstream: &Scripted, more: &str) -> Site {
    let more = format!(
        "upstreamProxies: [{{name: corporate, addresses: ['{}']{more}}}]",
        upstream.address
    );
    Site::start_with(
        &more,
        &allow(&format!(
            "[v6.test, dot.test, {{cidr: '{PUBLIC_V6}/128', ports: [80, 443]}}]"
        )),
        &[
            &format!("v6.test={PUBLIC_V6}"),
            &format!("dot.test={PUBLIC}"),
        ],
        &[],
    )
}

/// The request line and `Host` of what an upstream proxy was asked for last.
fn asked(upstream: &Scripted) -> (String, Vec<String>) {
    let head = upstream.heads().pop().expect("it was asked");
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("host").then(|| value.to_owned())
    });
    (line, hosts.collect())
}

/// By default an address is asked for that was judged, since nothing is dialled by a name again;
/// `checked` and `proxy` ask for the name that the client did.
#[tokio::test(flavor = "multi_thread")]
async fn egr_30_an_upstream_proxy_is_asked_in_one_form() {
    let proxy = upstream(OPENED).await;
    let (pinned, checked, by_proxy) = (
        site(&proxy, ""),
        site(&proxy, ", resolve: checked"),
        site(&proxy, ", resolve: proxy"),
    );
    let v6 = format!("[{PUBLIC_V6}]:443");
    for (site, target, expected) in [
        (&pinned, "v6.test:443", v6.as_str()),
        (&pinned, "dot.test.:443", "93.184.215.14:443"),
        (&pinned, &v6, &v6),
        (&checked, "v6.test:443", "v6.test:443"),
        (&checked, "DOT.test.:443", "dot.test:443"),
        (&checked, &v6, &v6),
        (&by_proxy, "v6.test:443", "v6.test:443"),
        (&by_proxy, "dot.test.:443", "dot.test:443"),
        (&by_proxy, &v6, &v6),
    ] {
        let (_, answer) = site.connect(target);
        assert_eq!(status_of(&answer), 200, "{target}: {answer}");
        let line = format!("CONNECT {expected} HTTP/1.1");
        assert_eq!(asked(&proxy), (line, vec![expected.to_owned()]), "{target}");
    }
    // What policies refuse is not even asked for.
    let before = proxy.connections();
    for target in [
        "evil.test:443",
        "v6.test:22",
        "[::1]:443",
        "169.254.169.254:80",
    ] {
        for site in [&pinned, &checked, &by_proxy] {
            assert_eq!(status_of(&site.connect(target).1), 403, "{target}");
        }
    }
    assert_eq!(proxy.connections(), before);
    // A plain request has the whole URL, and a Host that agrees with it.
    let plain =
        upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    for resolve in ["checked", "proxy"] {
        let site = site(&plain, &format!(", resolve: {resolve}"));
        for (url, host) in [
            (format!("http://[{PUBLIC_V6}]/x"), format!("[{PUBLIC_V6}]")),
            ("http://dot.test./x".to_owned(), "dot.test".to_owned()),
        ] {
            let answer = site.get(&url);
            assert!(answer.ends_with("\r\n\r\nok"), "{url}: {answer}");
            let (line, hosts) = asked(&plain);
            let target = line
                .strip_prefix("GET http://")
                .and_then(|line| line.strip_suffix("/x HTTP/1.1"));
            let target = target.map(|target| target.strip_suffix(":80").unwrap_or(target));
            assert_eq!(
                (target, hosts.as_slice()),
                (Some(host.as_str()), &[host.clone()][..]),
                "{line}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_30_what_an_upstream_proxy_refuses_is_no_answer_of_the_origin() {
    for (answer, expected) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 6\r\n\r\nsecret",
            "egress/upstream_proxy_unauthorized",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsecret",
            "egress/upstream_proxy_refused",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\nsecret",
            "egress/upstream_proxy_unreachable",
        ),
        ("SSH-2.0-secret\r\n\r\n", "egress/upstream_proxy_failed"),
    ] {
        let proxy = upstream(answer).await;
        for resolve in ["pinned", "checked", "proxy"] {
            let site = site(&proxy, &format!(", resolve: {resolve}"));
            let (_, told) = site.connect("dot.test:443");
            assert_eq!(
                (status_of(&told), reason(&told)),
                (502, expected),
                "{resolve}: {told}"
            );
            assert!(
                !told.contains("secret")
                    && !told.to_ascii_lowercase().contains("proxy-authenticate"),
                "{told}"
            );
            let line = site.audit("dot.test");
            assert_eq!(
                (&line["verdict"], &line["upstreamProxy"]),
                (&"error".into(), &"corporate".into())
            );
        }
    }
}

/// The list of the case, with what it has that no egress proxy reaches left to a range: loopback and
/// the metadata service are no destinations, with or without an upstream proxy.
#[tokio::test(flavor = "multi_thread")]
async fn egr_29_no_proxy_as_the_proxy_reads_it() {
    let direct = Recorder::start().await;
    let proxy = upstream(OPENED).await;
    let list = "localhost, .svc, .CLUSTER.local, 10.96.0.0/12, 169.254.169.254, '[::1]', example.test., '*.corp.test', 'host.test:8443', ' spaced.test '";
    let names = [
        "a.svc",
        "b.cluster.local",
        "example.test",
        "www.example.test",
        "corp.test",
        "x.corp.test",
        "host.test",
        "other.test",
        "notexample.test",
        "spaced.test",
    ];
    let answers = names.map(|name| format!("{name}={PUBLIC}"));
    let mut answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    answers.push("api.test=10.96.0.1");
    let ports = [443, 8443];
    let map: Vec<String> = ports
        .iter()
        .flat_map(|port| [format!("{PUBLIC}:{port}"), format!("10.96.0.1:{port}")])
        .collect();
    let map: Vec<_> = map
        .iter()
        .map(|from| (from.as_str(), direct.address))
        .collect();
    let entries = names
        .map(|name| format!("{{host: {name}, ports: [443, 8443], raw: true}}"))
        .join(", ");
    let private = "{host: api.test, private: true, raw: true}, {cidr: 10.96.0.0/12, private: true, raw: true}";
    let site = Site::start_with(
        &format!(
            "upstreamProxies: [{{name: corporate, addresses: ['{}'], noProxy: [{list}]}}]",
            proxy.address
        ),
        &allow(&format!("[{entries}, {private}]")),
        &answers,
        &map,
    );
    for (target, is_direct) in [
        ("10.96.0.1:443", true),
        ("api.test:443", true),
        ("a.svc:443", true),
        ("b.cluster.local:443", true),
        ("example.test:443", true),
        ("www.example.test:443", true),
        ("x.corp.test:443", true),
        ("host.test:8443", true),
        ("EXAMPLE.test:443", true),
        ("spaced.test:443", true),
        ("host.test:443", false),
        // Go has it so too, as docs/egress.md says: a star is what is below.
        ("corp.test:443", false),
        ("notexample.test:443", false),
        ("other.test:443", false),
    ] {
        let before = (direct.connections(), proxy.connections());
        let (_, answer) = site.connect(target);
        assert_eq!(status_of(&answer), 200, "{target}: {answer}");
        let added = match is_direct {
            true => (1, 0),
            false => (0, 1),
        };
        portcullis_tests::wait_for("the connection", || {
            (direct.connections(), proxy.connections()) == (before.0 + added.0, before.1 + added.1)
        });
    }
    assert_eq!(status_of(&site.connect("[::1]:443").1), 403);
}

/// The one thing that the proxy reads from its own environment is what people set for a shell:
/// it has no part in where the proxy goes.
#[tokio::test(flavor = "multi_thread")]
async fn egr_29_the_environment_does_not_choose_the_upstream_proxy() {
    let direct = Recorder::start().await;
    let stranger = upstream(OPENED).await;
    // The gateway inherits the environment of this process, which must not be changed beside other
    // tests: so the test runs itself, in a process that has it.
    const INNER: &str = "PORTCULLIS_TEST_INNER";
    if std::env::var_os(INNER).is_none() {
        let status = Command::new(std::env::current_exe().expect("a test has a path"))
            .args([
                "--exact",
                "chain::egr_29_the_environment_does_not_choose_the_upstream_proxy",
            ])
            .env(INNER, "1")
            .envs(
                [
                    "HTTP_PROXY",
                    "http_proxy",
                    "HTTPS_PROXY",
                    "https_proxy",
                    "ALL_PROXY",
                    "all_proxy",
                ]
                .map(|name| (name, format!("http://{}", stranger.address))),
            )
            .status();
        assert!(status.expect("the test runs").success());
        assert_eq!(stranger.connections(), 0);
        return;
    }
    let site = Site::start(
        &allow("[{host: dot.test, ports: [443], raw: true}]"),
        &[&format!("dot.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:443"), direct.address)],
    );
    let (_, answer) = site.connect("dot.test:443");
    assert_eq!(status_of(&answer), 200, "{answer}");
    portcullis_tests::wait_for("the connection", || direct.connections() == 1);
}
