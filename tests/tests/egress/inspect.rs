//! TLS that is looked into: what leaves, what does not, and what clients see.

use std::time::{Duration, Instant};

use portcullis_tests::{Authority, Backend, Client, Inside, replace, sha256, status_of, wait_for};

use super::{
    inspected::{INSPECTION, Inspected},
    site::{allow, config, reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_judged_one_by_one_in_the_protocol_of_the_destination() {
    let entries = "[{host: api.example, inspect: true, methods: [GET], paths: [/open]}]";
    for (alpn, version, seen) in [
        (&["h2", "http/1.1"][..], "--http2", "HTTP/2.0"),
        (&["h2", "http/1.1"], "--http1.1", "HTTP/1.1"),
        (&["http/1.1"], "--http2", "HTTP/1.1"),
        (&[], "--http2", "HTTP/1.1"),
    ] {
        let proxy = Inspected::start_with(&allow(entries), alpn, &[]).await;
        // Three requests of one client, on one connection.
        let urls =
            ["open/a?x=1", "shut", "open/b"].map(|path| format!("https://api.example/{path}"));
        let [a, b, c] = urls.each_ref().map(String::as_str);
        let text = proxy.curl(&[version, a, b, c]);
        assert!(text.starts_with("one /open/a?x=1 200"), "{version}: {text}");
        assert!(
            text.contains("\"reason\":\"request_not_allowed\""),
            "{version}: {text}"
        );
        assert!(text.ends_with(" 403one /open/b 200"), "{version}: {text}");
        assert_eq!(proxy.backend.requests(), 2);
        assert_eq!(proxy.backend.connections(), 1, "{version} {alpn:?}");
        assert_eq!(proxy.backend.last().version, seen, "{version} {alpn:?}");
        assert!(proxy.curl(&[version, "-d", "x", a]).ends_with(" 403"));
        wait_for("the records", || proxy.records().len() == 4);
        let mut opened = proxy.records_with("path", "/open/a");
        opened.retain(|record| record["method"] == "GET");
        let opened = &opened[0];
        assert_eq!(opened["status"], 200);
        assert_eq!(opened["policy"], "all");
        assert_eq!(opened["rule"], "api.example");
        assert_eq!(opened["bytesDown"], "one /open/a?x=1".len());
        assert!(!opened.to_string().contains("x=1"), "{opened}");
        let shut = &proxy.records_with("path", "/shut")[0];
        assert_eq!(shut["verdict"], "deny");
        assert_eq!(shut["reason"], "request_not_allowed");
        wait_for("the tunnels", || proxy.tunnels().len() == 2);
        let id = opened["tunnel"].as_str().expect("an id");
        let tunnels = proxy.tunnels();
        let tunnel = tunnels.iter().find(|tunnel| tunnel["requestId"] == id);
        let tunnel = tunnel.expect("its record");
        assert_eq!(tunnel["inspected"], true, "{tunnel}");
        let inside = proxy.records_with("tunnel", id);
        assert_eq!(inside.len(), 3);
        let down = inside.iter().filter_map(|one| one["bytesDown"].as_u64());
        assert_eq!(tunnel["bytesDown"], down.sum::<u64>(), "{tunnel}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_inside_has_the_words_of_one_outside_and_the_connection_goes_on() {
    let entries = "[{host: api.example, inspect: true, paths: [/open]}]";
    let proxy = Inspected::start(entries).await;
    let mut client = proxy.inside("api.example:443");
    assert_eq!(client.protocol(), "http/1.1");
    let refused = client.ask("GET /shut HTTP/1.1\r\nHost: api.example\r\n\r\n");
    assert!(
        refused.starts_with("HTTP/1.1 403 Forbidden egress/request_not_allowed\r\n"),
        "{refused}"
    );
    assert_eq!(reason(&refused), "egress/request_not_allowed");
    assert!(
        refused.contains("x-portcullis-policy: all\r\n"),
        "{refused}"
    );
    assert!(!refused.contains("connection: close"), "{refused}");
    let allowed = client.ask("GET /open HTTP/1.1\r\nHost: API.example.:443\r\n\r\n");
    assert_eq!(status_of(&allowed), 200, "{allowed}");
    assert!(!allowed.contains("connection: close"), "{allowed}");
    assert_eq!(proxy.backend.last().header("host"), "api.example");
    let other = client.ask("GET /open HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(reason(&other), "egress/authority_mismatch", "{other}");
    // Whoever wants to close is answered, and closed.
    let last = client.ask("GET /open HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n");
    assert_eq!(status_of(&last), 200, "{last}");
    assert!(client.ends());
    // A body that nobody reads is no reason to lose the answer.
    let mut client = proxy.inside("api.example:443");
    let body = "z".repeat(200_000);
    let refused = client.ask(&format!(
        "POST /shut HTTP/1.1\r\nHost: api.example\r\nContent-Length: 200000\r\n\r\n{body}"
    ));
    assert_eq!(status_of(&refused), 403, "{refused}");
    assert!(refused.contains("connection: close"), "{refused}");
    assert!(client.ends());
    // What is closed takes no request that came behind.
    let before = proxy.backend.requests();
    let mut client = proxy.inside("api.example:443");
    let refused = client.ask(
        "POST /shut HTTP/1.1\r\nHost: api.example\r\nContent-Length: 4\r\n\r\nsome\
         GET /open HTTP/1.1\r\nHost: api.example\r\n\r\n",
    );
    assert!(refused.contains("connection: close"), "{refused}");
    assert!(client.ends());
    assert_eq!(proxy.backend.requests(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_have_two_readings_reach_nobody() {
    let proxy = Inspected::start("[{host: api.example, inspect: true}]").await;
    for (request, status, code) in [
        (
            "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
            421,
            "authority_mismatch",
        ),
        (
            "GET / HTTP/1.1\r\nHost: api.example:8443\r\n\r\n",
            421,
            "authority_mismatch",
        ),
        (
            "GET / HTTP/1.1\r\nHost: api.example\r\nHost: api.example\r\n\r\n",
            400,
            "duplicate_host",
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
        (
            "GET https://other.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n",
            400,
            "bad_uri",
        ),
        (
            "CONNECT other.example:443 HTTP/1.1\r\nHost: api.example\r\n\r\n",
            400,
            "bad_uri",
        ),
        (
            "GET /a<b HTTP/1.1\r\nHost: api.example\r\n\r\n",
            400,
            "bad_uri",
        ),
        (
            "GET /?a>b HTTP/1.1\r\nHost: api.example\r\n\r\n",
            400,
            "bad_uri",
        ),
        (
            "GET / HTTP/1.1\nHost: api.example\n\n",
            400,
            "bad_line_ending",
        ),
        (
            "POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_framing",
        ),
        (
            "GET /a/../b HTTP/1.1\r\nHost: api.example\r\n\r\n",
            403,
            "non_canonical_path",
        ),
        (
            "GET /a/%2e%2E/b HTTP/1.1\r\nHost: api.example\r\n\r\n",
            403,
            "non_canonical_path",
        ),
        (
            "GET //b HTTP/1.1\r\nHost: api.example\r\n\r\n",
            403,
            "non_canonical_path",
        ),
        (
            "GET /a%2fb HTTP/1.1\r\nHost: api.example\r\n\r\n",
            403,
            "non_canonical_path",
        ),
        (
            "GET /a\\b HTTP/1.1\r\nHost: api.example\r\n\r\n",
            403,
            "non_canonical_path",
        ),
        (
            "GET / HTTP/1.1\r\nHost: api.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            403,
            "upgrade_refused",
        ),
    ] {
        let mut client = proxy.inside("api.example:443");
        let answer = client.ask(request);
        assert_eq!(status_of(&answer), status, "{request:?}: {answer}");
        assert_eq!(reason(&answer), format!("egress/{code}"), "{request:?}");
    }
    for (arguments, status, code) in [
        (
            &["-H", "Host: other.example"][..],
            421,
            "authority_mismatch",
        ),
        (&["-H", "Host: api.example:8443"], 421, "authority_mismatch"),
        (&["--path-as-is"], 403, "non_canonical_path"),
    ] {
        let url = match code {
            "non_canonical_path" => "https://api.example/a/../b",
            _ => "https://api.example/",
        };
        let text = proxy.curl(&[&["--http2"], arguments, &[url]].concat());
        assert!(
            text.ends_with(&format!(" {status}")),
            "{arguments:?}: {text}"
        );
        assert!(text.contains(code), "{arguments:?}: {text}");
    }
    assert_eq!(proxy.backend.requests(), 0, "{:?}", proxy.backend.seen());
    // A second request in the body of the first is none.
    let mut client = proxy.inside("api.example:443");
    let two = "POST / HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n1x\r\nGET /2 HTTP/1.1\r\nHost: api.example\r\n\r\n";
    client.send(two.as_bytes());
    assert!(client.ends());
    assert!(proxy.backend.seen().iter().all(|seen| seen.target != "/2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_does_not_prove_its_name_gets_nothing() {
    let (known, unknown) = (Authority::named("known"), Authority::named("unknown"));
    let backends = [
        unknown.server(&["api.example"], &["h2", "http/1.1"]),
        known.server(&["other.example"], &["h2", "http/1.1"]),
    ];
    for tls in backends {
        let backend = Backend::start_tls("one", tls).await;
        let policies = allow("[{host: api.example, inspect: true}]");
        let proxy = Inspected::with(&policies, backend, &[("trust.crt", &known.pem())]);
        for version in ["--http1.1", "--http2"] {
            let text = proxy.curl(&[version, "https://api.example/secret"]);
            assert!(text.ends_with(" 502"), "{version}: {text}");
            assert!(text.contains("\"reason\":\"upstream_untrusted\""), "{text}");
        }
        assert_eq!(proxy.backend.requests(), 0);
        wait_for("the records", || {
            proxy.records().len() == 2 && proxy.tunnels().len() == 2
        });
        for record in proxy.records().iter().chain(&proxy.tunnels()) {
            assert_eq!(record["verdict"], "error", "{record}");
            assert_eq!(record["reason"], "upstream_untrusted", "{record}");
        }
    }
    // One that speaks no TLS.
    let backend = Backend::start("one").await;
    let policies = allow("[{host: api.example, inspect: true}]");
    let proxy = Inspected::with(&policies, backend, &[("trust.crt", &known.pem())]);
    let text = proxy.curl(&["https://api.example/"]);
    assert!(
        text.contains("upstream_tls_failed") && text.ends_with(" 502"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_trust_the_proxy_is_told_of() {
    let proxy = Inspected::start("[{host: api.example, inspect: true}]").await;
    let pinned = Authority::named("the one it knows").client(&["http/1.1"]);
    let refused = Inside::connect(proxy.site.proxy(), "api.example:443", pinned);
    assert!(refused.is_err());
    wait_for("the record", || proxy.tunnels().len() == 1);
    let record = &proxy.tunnels()[0];
    assert_eq!(record["verdict"], "error", "{record}");
    assert_eq!(record["reason"], "client_rejected_ca", "{record}");
    assert_eq!(record["inspected"], true, "{record}");
    let series = r#"portcullis_egress_decisions_total{policy="all",reason="client_rejected_ca",verdict="error"}"#;
    assert_eq!(proxy.site.gateway.metric(series), Some(1.0));
    // curl says so by its exit code, and in the alert that it sends.
    let text = proxy.curl(&["--cacert", "/dev/null", "https://api.example/"]);
    assert!(text.contains("curl: ("), "{text}");
    assert_eq!(proxy.backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_whole_in_both_directions() {
    let proxy = Inspected::start("[{host: api.example, inspect: true}]").await;
    let body: String = "0123456789".repeat(300_000);
    let file = proxy.site.gateway.folder().join("body");
    std::fs::write(&file, &body).expect("writable");
    let upload = format!("@{}", file.display());
    for version in ["--http1.1", "--http2"] {
        for framing in ["X-Plain: 1", "Transfer-Encoding: chunked"] {
            if version == "--http2" && framing != "X-Plain: 1" {
                continue;
            }
            let arguments = [version, "-H", framing, "--data-binary", &upload];
            let text = proxy.curl(&[&arguments[..], &["https://api.example/up"]].concat());
            assert_eq!(text, "one /up 200", "{version} {framing}");
            let seen = proxy.backend.last();
            assert_eq!(
                seen.body_sha256,
                sha256(body.as_bytes()),
                "{version} {framing}"
            );
        }
        let text = proxy.curl(&[version, "https://api.example/sse"]);
        assert_eq!(text.matches("data:").count(), 3, "{version}: {text}");
    }
    wait_for("the records", || proxy.records().len() == 5);
    assert_eq!(proxy.records()[0]["bytesUp"], body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_policy_ends_what_is_under_way_inside_and_decides_what_comes() {
    let entry = |paths: &str| {
        allow(&format!(
            "[{{host: api.example, inspect: true, paths: [{paths}]}}]"
        ))
    };
    let proxy = Inspected::start_with(&entry("/sleep, /open"), &["h2", "http/1.1"], &[]).await;
    let gateway = &proxy.site.gateway;
    let mut waiting = proxy.inside("api.example:443");
    waiting.send(b"GET /sleep/20000 HTTP/1.1\r\nHost: api.example\r\n\r\n");
    let mut idle = proxy.inside("api.example:443");
    let request = "GET /open HTTP/1.1\r\nHost: api.example\r\n\r\n";
    assert_eq!(status_of(&idle.ask(request)), 200);
    wait_for("the requests", || proxy.backend.requests() == 2);
    gateway.reload(&config(INSPECTION, &entry("/open")));
    let answer = waiting.response();
    assert_eq!(status_of(&answer), 403, "{answer}");
    assert_eq!(reason(&answer), "egress/policy_changed");
    // The tunnel is one that is still allowed.
    assert_eq!(status_of(&idle.ask(request)), 200);
    gateway.reload(&config(INSPECTION, &entry("/other")));
    let refused = idle.ask(request);
    assert_eq!(reason(&refused), "egress/request_not_allowed", "{refused}");
    gateway.reload(&config(INSPECTION, &allow("[other.example]")));
    assert!(idle.ends());
    wait_for("the end", || {
        let tunnels = proxy.tunnels();
        tunnels
            .iter()
            .any(|tunnel| tunnel["ended"] == "policy_changed")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_began_unseen_ends_when_it_is_to_be_looked_into() {
    let destination = Authority::named("authority of destinations");
    let tls = destination.server(&["api.example"], &["http/1.1"]);
    let backend = Backend::start_tls("one", tls).await;
    let trust = [("trust.crt", destination.pem())];
    let trust = trust.each_ref().map(|(name, text)| (*name, text.as_str()));
    let proxy = Inspected::with(&allow("[api.example]"), backend, &trust);
    let blind = destination.client(&["http/1.1"]);
    let mut client = Inside::connect(proxy.site.proxy(), "api.example:443", blind).expect("TLS");
    let request = "GET / HTTP/1.1\r\nHost: api.example\r\n\r\n";
    assert_eq!(status_of(&client.ask(request)), 200);
    let inspected = allow("[{host: api.example, inspect: true}]");
    proxy.site.gateway.reload(&config(INSPECTION, &inspected));
    assert!(client.ends());
    let mut client = proxy.inside("api.example:443");
    assert_eq!(status_of(&client.ask(request)), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_remembered_until_there_is_another_authority() {
    let policies =
        allow("[{host: api.example, inspect: true}, {host: other.example, inspect: true}]");
    let proxy = Inspected::start_with(&policies, &["http/1.1"], &[]).await;
    let certificate = |target: &str| proxy.inside(target).certificate();
    let first = certificate("api.example:443");
    assert_eq!(certificate("api.example:443"), first);
    assert_ne!(certificate("other.example:443"), first);
    // A reload of other things forgets none.
    let gateway = &proxy.site.gateway;
    gateway.reload(&config(INSPECTION, &format!("{policies}# changed\n")));
    assert_eq!(certificate("api.example:443"), first);
    let other = Authority::named("another");
    let folder = gateway.folder();
    replace(&folder.join("ca.key"), other.key_pem());
    replace(&folder.join("ca.crt"), other.pem());
    let connect = || {
        let tls = other.client(&["http/1.1"]);
        Inside::connect(proxy.site.proxy(), "api.example:443", tls)
    };
    wait_for("the other authority", || connect().is_ok());
    assert_ne!(connect().expect("TLS").certificate(), first);
    // One that is no authority is told, and the last good one goes on.
    let (leaf, key) = other.sign(&["api.example"]);
    replace(&folder.join("ca.key"), key);
    replace(&folder.join("ca.crt"), leaf);
    wait_for("the problem", || {
        let (_, problems) = gateway.admin("/config/problems");
        problems.contains("egress.inspection.certificate") && problems.contains("authority")
    });
    connect().expect("TLS as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_stops_waits_for_what_is_under_way_and_for_nothing_else() {
    let mut proxy = Inspected::start("[{host: api.example, inspect: true}]").await;
    let address = proxy.site.proxy();
    let request = "GET /open HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let mut idle = proxy.inside("api.example:443");
    assert_eq!(status_of(&idle.ask(request)), 200);
    let tls = proxy.authority.client(&["h2"]);
    let mut idle_h2 = Client::tls_through(address, "api.example:443", tls, true)
        .await
        .expect("TLS");
    let answer = idle_h2
        .get("api.example", "/open")
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let ways = ["--http1.1", "--http2"];
    std::thread::scope(|scope| {
        let proxy = &proxy;
        let url = "https://api.example/sleep/2000";
        let asked = ways.map(|version| scope.spawn(move || proxy.curl(&[version, url])));
        wait_for("the requests", || proxy.backend.requests() == 4);
        proxy.site.gateway.signal("TERM");
        for asked in asked {
            assert_eq!(asked.join().expect("curl ran"), "one /sleep/2000 200");
        }
    });
    let began = Instant::now();
    assert!(proxy.site.gateway.wait().success());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "idle clients are not waited for"
    );
    assert!(idle.ends());
    drop(idle_h2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_of_socks_are_looked_into_as_well() {
    let policies = allow("[{host: api.example, inspect: true, paths: [/open]}]");
    let proxy = Inspected::start_with(&policies, &["http/1.1"], &[]).await;
    let gateway = &proxy.site.gateway;
    let socks = "{name: socks, address: '127.0.0.1:0', protocol: socks5}]";
    let with_socks = config(INSPECTION, &policies).replacen("}]", &format!("}}, {socks}"), 1);
    gateway.reload(&with_socks);
    let through = format!("socks5h://{}", gateway.at("egress/socks"));
    for (path, status) in [("open", 200), ("shut", 403)] {
        let url = format!("https://api.example/{path}");
        let text = proxy.curl(&["--proxy", &through, &url]);
        assert!(text.ends_with(&format!(" {status}")), "{text}");
    }
    assert_eq!(proxy.backend.requests(), 1);
    wait_for("the records", || proxy.records().len() == 2);
    // In clear an entry that is looked into allows nothing, on any port.
    let answer = proxy.site.get("http://api.example:443/open");
    assert_eq!(reason(&answer), "egress/request_not_allowed", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_asks_for_another_method_or_path_is_no_way_round() {
    let proxy = Inspected::start(
        "[{host: api.example, inspect: true, methods: [GET, POST]}, {host: raw.example, ports: [80], methods: [POST]}]",
    )
    .await;
    let url = "https://api.example/x";
    for (field, reason) in [
        ("X-HTTP-Method-Override: DELETE", "request_not_allowed"),
        ("x_method_override: delete", "request_not_allowed"),
        ("X-HTTP-Method: TRACE", "trace_refused"),
        ("X-HTTP-Method: GET, DELETE", "override_refused"),
        ("X-Original-URL: /admin", "override_refused"),
    ] {
        for version in ["--http1.1", "--http2"] {
            let text = proxy.curl(&[version, "-d", "x", "-H", field, url]);
            assert!(text.contains(&format!("\"{reason}\"")), "{field}: {text}");
        }
        if reason != "trace_refused" {
            // In clear no less.
            let request = format!(
                "POST http://raw.example/ HTTP/1.1\r\nHost: raw.example\r\n{field}\r\nContent-Length: 0\r\n\r\n"
            );
            let mut client = portcullis_tests::Raw::connect(proxy.site.proxy());
            let answer = client.send(request.as_bytes()).response();
            assert_eq!(super::site::reason(&answer), format!("egress/{reason}"));
        }
    }
    assert_eq!(proxy.backend.requests(), 0);
    let field = "X-HTTP-Method-Override: GET";
    assert_eq!(proxy.curl(&["-d", "x", "-H", field, url]), "one /x 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_get_goes_on_however_it_is_framed() {
    let proxy = Inspected::start("[{host: api.example, inspect: true}]").await;
    for (version, field) in [
        ("--http1.1", "Transfer-Encoding: chunked"),
        ("--http1.1", "Content-Length: 5"),
        ("--http2", "Accept: */*"),
    ] {
        let url = "https://api.example/_search";
        let text = proxy.curl(&[version, "-X", "GET", "-H", field, "-d", "query", url]);
        assert_eq!(text, "one /_search 200", "{version} {field}");
        assert_eq!(proxy.backend.last().body_len, 5, "{version} {field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_ends_with_the_trust_that_its_destination_was_verified_by() {
    let proxy = Inspected::start("[{host: api.example, inspect: true}]").await;
    let ask = "GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let mut inside = proxy.inside("api.example:443");
    assert_eq!(status_of(&inside.ask(ask)), 200);
    let gateway = &proxy.site.gateway;
    let other = portcullis_tests::Authority::named("another");
    std::fs::write(gateway.folder().join("trust.crt"), other.pem()).expect("writable");
    assert!(
        inside.ends(),
        "it was verified by who is not trusted any more"
    );
    wait_for("the record", || {
        proxy
            .tunnels()
            .first()
            .is_some_and(|tunnel| tunnel["ended"] == "policy_changed")
    });
    assert!(proxy.curl(&["https://api.example/x"]).ends_with(" 502"));
}
