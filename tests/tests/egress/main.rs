//! The egress proxy: what workloads reach, and what nobody reaches through it.

mod bulk;
mod certificates;
mod decision;
mod dns;
mod early;
mod ech;
mod http2;
mod identity;
mod inspect;
mod inspect_credentials;
mod inspect_h2;
mod inspect_limits;
mod inspect_modes;
mod inspect_waf;
mod inspected;
mod open;
mod originate;
mod quota;
mod refusals;
mod second_hello;
mod selftest;
mod silence;
mod tls;
mod tools;
mod upstream_proxies;

use std::process::Command;

use portcullis_tests::egress_site as site;
use portcullis_tests::{
    Authority, Backend, Inside, Raw, Recorder, raw, sha256, status_of, wait_for,
};

use site::{PUBLIC, Site, allow, client_hello, reason};

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_carries_tls_from_end_to_end_and_is_told() {
    let authority = Authority::new();
    let backend = Backend::start_tls(
        "one",
        authority.server(&["api.example"], &["h2", "http/1.1"]),
    )
    .await;
    let site = Site::start(
        &allow("[api.example]"),
        &[&format!("api.example={PUBLIC}")],
        &[(&format!("{PUBLIC}:443"), backend.address)],
    );
    let ca = site.gateway.folder().join("ca.crt");
    std::fs::write(&ca, authority.pem()).expect("writable");
    for (version, url) in [
        ("--http1.1", "https://api.example/x"),
        ("--http2", "https://API.example.:443/x"),
    ] {
        let output = Command::new("curl")
            .args(["-sS", version, "--max-time", "10", "--proxy"])
            .arg(format!("http://{}", site.proxy()))
            .arg("--cacert")
            .arg(&ca)
            .arg(url)
            .output()
            .expect("curl runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "one /x",
            "{url}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let line = site.audit("api.example");
    assert_eq!(line["verdict"], "allow", "{line}");
    assert_eq!(line["policy"], "all");
    assert_eq!(line["method"], "CONNECT");
    assert_eq!(line["port"], 443);
    assert_eq!(line["resolved"][0], PUBLIC);
    assert_eq!(line["dialled"], format!("{PUBLIC}:443"));
    assert!(line["bytesUp"].as_u64() > Some(100) && line["bytesDown"].as_u64() > Some(100));
    wait_for("the metrics", || {
        let (_, text) = site.gateway.management("/metrics");
        text.lines().any(|line| {
            line.starts_with("portcullis_egress_decisions_total{")
                && line.contains(r#"policy="all""#)
                && line.contains(r#"verdict="allow""#)
                && line.ends_with(" 2")
        })
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_requests_are_forwarded_to_the_host_that_was_judged() {
    let backend = Backend::start("one").await;
    let site = Site::start(
        &allow("[api.example, {host: read.example, methods: [GET], paths: [/open]}]"),
        &[
            &format!("api.example={PUBLIC}"),
            &format!("read.example={PUBLIC}"),
        ],
        &[(&format!("{PUBLIC}:80"), backend.address)],
    );
    let request = "POST http://API.example/a%20b?x=1 HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Forwarded-For: 10.0.0.1\r\nContent-Length: 5\r\n\r\nhello";
    let answer = raw(site.proxy(), request.as_bytes());
    assert_eq!(status_of(&answer), 200, "{answer}");
    let seen = backend.last();
    assert_eq!(seen.target, "/a%20b?x=1");
    assert_eq!(
        seen.header("host"),
        "api.example",
        "the Host header decides nothing"
    );
    for name in [
        "proxy-authorization",
        "proxy-connection",
        "x-hop",
        "connection",
    ] {
        assert_eq!(seen.header(name), "", "{name}");
    }
    let body: String = "z".repeat(300_000);
    let chunked: String = body
        .as_bytes()
        .chunks(70_000)
        .map(|part| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
        .collect();
    for (framing, bytes) in [
        ("Content-Length: 300000", body.clone()),
        ("Transfer-Encoding: chunked", chunked + "0\r\n\r\n"),
    ] {
        let request = format!(
            "PUT http://api.example/up HTTP/1.1\r\nHost: api.example\r\n{framing}\r\n\r\n{bytes}"
        );
        let answer = raw(site.proxy(), request.as_bytes());
        assert_eq!(status_of(&answer), 200, "{framing}: {answer}");
        assert_eq!(
            backend.last().body_sha256,
            sha256(body.as_bytes()),
            "{framing}"
        );
    }
    // A second request on the same connection gets no ride on the first.
    let before = backend.requests();
    let two = "GET http://api.example/1 HTTP/1.1\r\nHost: api.example\r\n\r\nGET http://evil.example/2 HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let answers = raw(site.proxy(), two.as_bytes());
    assert_eq!(status_of(&answers), 200);
    assert_eq!(backend.requests(), before + 1, "{:?}", backend.last());

    for (target, status) in [
        ("http://read.example/open/x", 200),
        ("http://read.example/open", 200),
        ("http://read.example/opening", 403),
        ("http://read.example/open/../closed", 403),
        ("http://read.example/open/%2e%2e/closed", 403),
        ("http://read.example/open%2f..%2fclosed", 400),
        ("http://read.example/open/a%2fb", 400),
        ("http://other.example/", 403),
    ] {
        assert_eq!(status_of(&site.get(target)), status, "{target}");
    }
    let post =
        "POST http://read.example/open HTTP/1.1\r\nHost: read.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(status_of(&raw(site.proxy(), post.as_bytes())), 403);
    // A tunnel shows neither method nor path.
    assert_eq!(status_of(&site.connect("read.example:443").1), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_forbidden_address_is_reached() {
    let recorder = Recorder::start().await;
    let port = recorder.address.port();
    // The most open policy there is: what follows is refused in every mode.
    let open =
        "  - {name: all, subjects: [{addresses: [127.0.0.0/8]}], mode: open, allowAll: true}\n";
    let site = Site::start(open, &["rebound.example=127.0.0.1"], &[]);
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127.000.000.001",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
        "instance-data",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "[ff02::1]",
        "rebound.example",
        "127.0.0.1%00.example.com",
        "127.0.0.1\u{3002}1",
        "①27.0.0.1",
        "user@127.0.0.1",
        "127.0.0.1#@example.com",
        "127.0.0.1/x",
        "[127.0.0.1]",
        "[::1",
        "::1",
    ] {
        let (_, answer) = site.connect(&format!("{host}:{port}"));
        assert!(
            [400, 403].contains(&status_of(&answer)),
            "CONNECT {host}: {answer}"
        );
        let answer = site.get(&format!("http://{host}:{port}/"));
        assert!(
            [400, 403].contains(&status_of(&answer)),
            "GET {host}: {answer}"
        );
    }
    for target in [
        "example.com",
        "example.com:",
        "example.com:0",
        "example.com:65536",
        "example.com:443:443",
        "example.com:+443",
        "example.com:0443x",
        ":443",
        "",
        "http://example.com:443",
        "example .com:443",
        "example.com :443",
        "exa\tmple.com:443",
        "example..com:443",
        "-.example.com:443",
        "*.example.com:443",
    ] {
        let (_, answer) = site.connect(target);
        assert_eq!(status_of(&answer), 400, "CONNECT {target}: {answer}");
    }
    assert_eq!((recorder.connections(), recorder.bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_turns_private_is_refused() {
    let authority = Authority::new();
    let backend =
        Backend::start_tls("one", authority.server(&["api.example"], &["http/1.1"])).await;
    let site = Site::start(
        &allow("['*.corp.example', api.example]"),
        &[
            &format!("api.example={PUBLIC}"),
            "api.example=10.0.0.5",
            "api.example=127.0.0.1",
            &format!("mixed.corp.example={PUBLIC},169.254.169.254"),
            "cluster.corp.example=10.96.0.1",
            "embedded.corp.example=64:ff9b::a9fe:a9fe",
            "mapped.corp.example=::ffff:192.168.0.1",
        ],
        &[(&format!("{PUBLIC}:443"), backend.address)],
    );
    // What was judged is dialled, and not what another answer would say.
    let tls = authority.client(&["http/1.1"]);
    let tunnel = Inside::connect(site.proxy(), "api.example:443", tls).expect("a handshake");
    drop(tunnel);
    let line = site.told("api.example", "verdict", "allow");
    assert_eq!(line["dialled"], format!("{PUBLIC}:443"), "{line}");
    for (host, times) in [
        ("api.example", 3),
        ("mixed.corp.example", 1),
        ("cluster.corp.example", 1),
        ("embedded.corp.example", 1),
        ("mapped.corp.example", 1),
    ] {
        for _ in 0..times {
            let (_, answer) = site.connect(&format!("{host}:443"));
            assert_eq!(status_of(&answer), 403, "{host}: {answer}");
        }
        let line = site.told(host, "verdict", "deny");
        assert!(line["dialled"].is_null(), "{line}");
    }
    // A name that no policy allows is refused before anybody asks DNS for it.
    let (_, answer) = site.connect("exfil.data.evil.test:443");
    assert_eq!(status_of(&answer), 403);
    assert!(site.audit("exfil.data.evil.test")["resolved"].is_null());
    // One that is allowed and has no address is an error of its own.
    let (_, answer) = site.connect("nowhere.corp.example:443");
    assert!([502, 504].contains(&status_of(&answer)), "{answer}");
}

/// A ClientHello for a name, as a TLS library writes it.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_inside_the_tunnel_is_the_name_that_was_asked_for() {
    let recorder = Recorder::start().await;
    let authority = Authority::new();
    let address = format!("{PUBLIC}:443");
    let site = Site::start_with(
        "limits: {clientHelloTimeout: 500ms, maxClientHelloSize: 4KiB}",
        &allow("[api.example, {host: raw.example, ports: [443], raw: true}]"),
        &[
            &format!("api.example={PUBLIC}"),
            &format!("raw.example={PUBLIC}"),
        ],
        &[
            (&address, recorder.address),
            (&format!("{PUBLIC}:80"), recorder.address),
        ],
    );
    let good = client_hello(&authority, "api.example");
    let bad = client_hello(&authority, "evil.example");
    let mut oversized = vec![0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb];
    oversized.resize(6000, 0);
    for (what, bytes, told) in [
        ("another name", bad.clone(), "sni_mismatch"),
        (
            "a name that only begins alike",
            client_hello(&authority, "api.example.evil.test"),
            "sni_mismatch",
        ),
        (
            "an address",
            client_hello(&authority, "127.0.0.1"),
            "sni_missing",
        ),
        (
            "no TLS",
            b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n".to_vec(),
            "not_tls",
        ),
        ("SSH", b"SSH-2.0-x\r\n".to_vec(), "not_tls"),
        ("half a hello", good[..100].to_vec(), "client_hello_timeout"),
        ("nothing", Vec::new(), "client_hello_timeout"),
        ("too much", oversized, "client_hello_too_large"),
    ] {
        let (mut tunnel, answer) = site.connect("api.example:443");
        assert_eq!(status_of(&answer), 200, "{what}: {answer}");
        tunnel.send(&bytes);
        assert!(tunnel.ends(), "{what}");
        let line = site.told("api.example", "reason", told);
        assert_eq!(line["verdict"], "deny", "{what}: {line}");
    }
    // What looks like TLS on the port of plain HTTP is judged too.
    let (mut tunnel, _) = site.connect("api.example:80");
    tunnel.send(&bad);
    assert!(tunnel.ends());
    assert_eq!(recorder.bytes(), 0, "not one byte left");

    // The hello may come in any pieces: bytes, and records.
    let (mut tunnel, _) = site.connect("api.example:443");
    for byte in &good {
        tunnel.send(&[*byte]);
    }
    wait_for("the hello", || recorder.bytes() == good.len() as u64);
    let mut records = Vec::new();
    for part in good[5..].chunks(50) {
        let length = u16::try_from(part.len()).expect("short").to_be_bytes();
        records.extend([0x16, 3, 1, length[0], length[1]]);
        records.extend(part);
    }
    let (mut tunnel, _) = site.connect("api.example:443");
    tunnel.send(&records);
    let both = (good.len() + records.len()) as u64;
    wait_for("the hello in records", || recorder.bytes() == both);
    // A name that differs is seen in any pieces too.
    let mut records = Vec::new();
    for part in bad[5..].chunks(7) {
        records.extend([0x16, 3, 1, 0, u8::try_from(part.len()).expect("short")]);
        records.extend(part);
    }
    let (mut tunnel, _) = site.connect("api.example:443");
    tunnel.send(&records);
    assert!(tunnel.ends());
    assert_eq!(recorder.bytes(), both);
    // Where the policy says raw, anything goes.
    let (mut tunnel, _) = site.connect("raw.example:443");
    tunnel.send(b"SSH-2.0-x\r\n");
    wait_for("the raw bytes", || recorder.bytes() == both + 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_followed_to_the_letter() {
    let backend = Backend::start("one").await;
    let policies = r"
  - name: locals
    subjects: [{addresses: [127.0.0.1/32]}]
    allow:
    - plain.example
    - '*.wild.example'
    - {host: odd.example, ports: [8443]}
    - {regex: 'mirror-[0-9]+\.example'}
    - {cidr: 93.184.215.0/24, ports: [80]}
    - {cidr: 10.0.3.0/24, ports: [80], private: true}
    deny: [secret.wild.example]
";
    let dns: Vec<String> = [
        "plain.example",
        "a.wild.example",
        "a.b.wild.example",
        "secret.wild.example",
        "odd.example",
        "mirror-12.example",
    ]
    .iter()
    .map(|name| format!("{name}={PUBLIC}"))
    .collect();
    let dns: Vec<&str> = dns.iter().map(String::as_str).collect();
    let (public, odd) = (format!("{PUBLIC}:80"), format!("{PUBLIC}:8443"));
    let site = Site::start(
        policies,
        &dns,
        &[
            (&public, backend.address),
            (&odd, backend.address),
            ("10.0.3.7:80", backend.address),
            ("10.0.4.7:80", backend.address),
        ],
    );
    for (target, status) in [
        ("plain.example", 200),
        ("plain.example:8443", 403),
        ("x.plain.example", 403),
        ("plain.example.evil.test", 403),
        ("a.wild.example", 200),
        ("a.b.wild.example", 200),
        ("wild.example", 403),
        ("awild.example", 403),
        ("secret.wild.example", 403),
        ("SECRET.wild.example.", 403),
        ("odd.example:8443", 200),
        ("odd.example", 403),
        ("mirror-12.example", 200),
        ("mirror-12x.example", 403),
        ("xmirror-12.example", 403),
        (PUBLIC, 200),
        ("93.184.216.1", 403),
        ("10.0.3.7", 200),
        ("10.0.4.7", 403),
        ("[::ffff:10.0.4.7]", 403),
    ] {
        let answer = site.get(&format!("http://{target}/"));
        assert_eq!(status_of(&answer), status, "{target}: {answer}");
        if status == 403 {
            assert_ne!(reason(&answer), "", "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_policy_selects_reaches_nothing() {
    let policies = "  - {name: others, subjects: [{addresses: [10.0.0.0/8]}], allowAll: true}\n";
    let site = Site::start(policies, &[&format!("api.example={PUBLIC}")], &[]);
    let (_, answer) = site.connect("api.example:443");
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/no_policy"),
        "{answer}"
    );
    // A header makes nobody somebody else.
    let spoofed = "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
    let answer = Raw::connect(site.proxy())
        .send(spoofed.as_bytes())
        .response();
    assert_eq!(status_of(&answer), 403, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn report_mode_lets_pass_and_tells_but_never_the_forbidden_classes() {
    let backend = Backend::start("one").await;
    let policies = "  - {name: trial, subjects: [{addresses: [127.0.0.0/8]}], mode: report, allow: [api.example]}\n";
    let public = format!("{PUBLIC}:80");
    let site = Site::start(
        policies,
        &[
            &format!("api.example={PUBLIC}"),
            &format!("new.example={PUBLIC}"),
            "inner.example=169.254.169.254",
        ],
        &[(&public, backend.address)],
    );
    for (host, verdict) in [("api.example", "allow"), ("new.example", "would_deny")] {
        assert_eq!(
            status_of(&site.get(&format!("http://{host}/"))),
            200,
            "{host}"
        );
        assert_eq!(site.audit(host)["verdict"], verdict, "{host}");
    }
    for host in ["inner.example", "169.254.169.254", "127.0.0.1"] {
        assert_eq!(
            status_of(&site.get(&format!("http://{host}/"))),
            403,
            "{host}"
        );
        assert_eq!(site.audit(host)["verdict"], "deny", "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_itself_is_no_destination() {
    let site = Site::start_with(
        "clusterRanges: [93.184.215.0/24]",
        &allow("['*.corp.example', {cidr: 93.184.215.0/24, ports: [443]}]"),
        &[&format!("api.example={PUBLIC}")],
        &[],
    );
    // Addresses of the cluster are private, whatever they look like.
    assert_eq!(status_of(&site.connect("api.example:443").1), 403);
    assert_eq!(status_of(&site.connect(&format!("{PUBLIC}:443")).1), 403);
    let own = site.proxy();
    assert_eq!(status_of(&site.connect(&own.to_string()).1), 403);
    // What is no proxy request is told so, not served.
    let answer = raw(own, b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n");
    assert_eq!(status_of(&answer), 400, "{answer}");
    for request in [
        "GET https://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "GET ftp://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "GET file:///etc/passwd HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "\x05\x01\x00",
        "\x16\x03\x01\x00\x05hello\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT\r\n\r\n",
    ] {
        let answer = Raw::connect(own)
            .send(request.as_bytes())
            .finish()
            .read_all();
        assert!(
            [400, 0].contains(&status_of(&answer)),
            "{request:?}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_silence_and_numbers_are_bounded() {
    let recorder = Recorder::start().await;
    let address = format!("{PUBLIC}:22");
    let site = Site::start_with(
        "limits: {headTimeout: 400ms, maxHeadSize: 2KiB, maxConnections: 4, idleTimeout: 1s, connectTimeout: 500ms}",
        &allow("[{host: raw.example, ports: [22], raw: true}, {host: down.example, ports: [22]}]"),
        &[
            &format!("raw.example={PUBLIC}"),
            "down.example=93.184.215.99",
        ],
        &[
            (&address, recorder.address),
            (
                "93.184.215.99:22",
                "127.0.0.1:1".parse().expect("an address"),
            ),
        ],
    );
    let big = format!(
        "CONNECT raw.example:22 HTTP/1.1\r\nX: {}\r\n\r\n",
        "a".repeat(3000)
    );
    let answer = Raw::connect(site.proxy()).send(big.as_bytes()).response();
    assert_eq!(status_of(&answer), 431, "{answer}");
    let mut slow = Raw::connect(site.proxy());
    slow.send(b"CONNECT raw.example:22 HT");
    let answer = slow.read_all();
    assert!([408, 0].contains(&status_of(&answer)), "{answer}");
    assert_eq!(status_of(&site.connect("down.example:22").1), 502);

    let (mut tunnel, answer) = site.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200);
    tunnel.send(b"hello");
    assert!(tunnel.ends(), "an idle tunnel is cut");
    site.told("raw.example", "ended", "idle_timeout");

    let open: Vec<Raw> = (0..4).map(|_| site.connect("raw.example:22").0).collect();
    let mut refused = Raw::connect(site.proxy());
    refused.send(b"CONNECT raw.example:22 HTTP/1.1\r\n\r\n");
    assert_ne!(status_of(&refused.read_all()), 200, "over maxConnections");
    drop(open);
    wait_for("a free place", || {
        status_of(&site.connect("raw.example:22").1) == 200
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_tunnel_still_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut all = Vec::new();
            // The answer comes when the question has ended.
            stream.read_to_end(&mut all).await.expect("open");
            stream
                .write_all(format!("{} bytes", all.len()).as_bytes())
                .await
                .expect("open");
        }
    });
    let public = format!("{PUBLIC}:22");
    let site = Site::start(
        &allow("[{host: raw.example, ports: [22], raw: true}]"),
        &[&format!("raw.example={PUBLIC}")],
        &[(&public, address)],
    );
    let (mut tunnel, _) = site.connect("raw.example:22");
    let bytes = vec![7; 1_000_000];
    assert_eq!(tunnel.send(&bytes).finish().read_all(), "1000000 bytes");
    let line = site.audit("raw.example");
    assert_eq!(
        (&line["bytesUp"], &line["bytesDown"]),
        (&1_000_000.into(), &13.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_gets_the_path_that_was_decided_on() {
    let backend = Backend::start("one").await;
    let public = format!("{PUBLIC}:80");
    let site = Site::start(
        &allow("[{host: a.example, paths: [/ok]}]"),
        &[&format!("a.example={PUBLIC}")],
        &[(&public, backend.address)],
    );
    for (target, status) in [
        ("//ok/./x?q=/../y", 200),
        ("/ok/../x", 403),
        ("/x/../ok/%7Ea", 200),
    ] {
        let request = format!(
            "GET http://a.example{target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        );
        let answer = portcullis_tests::raw(site.proxy(), request.as_bytes());
        assert_eq!(status_of(&answer), status, "{target}: {answer}");
    }
    let seen: Vec<_> = backend.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(seen, ["/ok/x?q=/../y", "/ok/%7Ea"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_deny_about_a_request_forbids_the_tunnel_that_may_carry_it() {
    let backend = Backend::start("one").await;
    let public = format!("{PUBLIC}:80");
    let site = Site::start(
        &allow(
            "[a.example, {host: b.example, methods: [GET]}], deny: [{host: a.example, paths: [/admin], methods: [POST]}]",
        ),
        &[
            &format!("a.example={PUBLIC}"),
            &format!("b.example={PUBLIC}"),
        ],
        &[(&public, backend.address)],
    );
    assert_eq!(status_of(&site.connect("a.example:80").1), 403);
    // A method is case-sensitive (RFC 9110 section 9.1), but not every origin knows:
    // what is allowed is allowed as written, what is denied in any spelling.
    for (line, status) in [
        ("GET http://a.example/admin", 200),
        ("post http://a.example/admin", 403),
        ("GET http://b.example/", 200),
        ("get http://b.example/", 403),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = portcullis_tests::raw(site.proxy(), request.as_bytes());
        assert_eq!(status_of(&answer), status, "{line}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_tunnels_end_and_takes_no_new_ones() {
    let recorder = Recorder::start().await;
    let public = format!("{PUBLIC}:22");
    let mut site = Site::start(
        &allow("[{host: raw.example, ports: [22], raw: true}]"),
        &[&format!("raw.example={PUBLIC}")],
        &[(&public, recorder.address)],
    );
    let (mut tunnel, _) = site.connect("raw.example:22");
    let proxy = site.proxy();
    site.gateway.signal("TERM");
    wait_for("the listener to close", || {
        std::net::TcpStream::connect(proxy).is_err()
    });
    tunnel.send(b"bye");
    wait_for("the bytes", || recorder.bytes() == 3);
    drop(tunnel);
    drop(recorder);
    assert!(site.gateway.wait().success());
}
