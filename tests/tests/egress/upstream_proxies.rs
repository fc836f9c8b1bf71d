//! Destinations behind other proxies: Squid, and another Portcullis.

use std::{fs, net::SocketAddr};

use portcullis_tests::{
    Authority, Backend, Echo, Gateway, Inside, Nobody, Raw, Squid, status_of, wait_for,
};

use super::{
    inspected::INSPECTION,
    site::{PUBLIC, Site, allow, config, reason},
    tls,
};

const CREDENTIALS: &str = "bob:s3cret word";

/// Portcullis before upstream proxies, with the credentials in a file.
fn site(proxies: &str, policies: &str, dns: &[&str], map: &[(&str, SocketAddr)]) -> Site {
    site_with("", proxies, policies, dns, map, &[])
}

fn site_with(
    more: &str,
    proxies: &str,
    policies: &str,
    dns: &[&str],
    map: &[(&str, SocketAddr)],
    files: &[(&str, String)],
) -> Site {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("login"), CREDENTIALS).expect("writable");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("writable");
    }
    let more = format!("{more}\n  upstreamProxies: [{proxies}]");
    Site::start_in(folder, &config(&more, policies), dns, map)
}

/// Through Squid, which looks names up.
fn through(squid: &Squid, more: &str) -> String {
    format!(
        "{{name: squid, addresses: ['{}'], credentials: login, resolve: proxy{more}}}",
        squid.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_and_plain_requests_go_through_squid_by_name() {
    let Some(squid) = Squid::start("bob", "s3cret word") else {
        return;
    };
    let (backend, echo) = (Backend::start("one").await, Echo::start("hello").await);
    let (http, raw) = (backend.address.port(), echo.address.port());
    let policies = allow(&format!(
        "[{{host: api.example, ports: [{http}]}}, {{host: '*.example', publicSuffix: true, ports: [{raw}, {http}], raw: true}}]"
    ));
    // No name is known here.
    let site = site(
        &through(&squid, ""),
        &policies,
        &["other.test=192.0.2.1"],
        &[],
    );
    let (mut tunnel, answer) = site.connect(&format!("raw.example:{raw}"));
    assert_eq!(status_of(&answer), 200, "{answer}");
    // The server speaks first, and its words may come with the answer of the proxy.
    assert_eq!(tunnel.read(5), b"hello");
    tunnel.send(b"ping");
    assert_eq!(tunnel.read(4), b"ping");
    drop(tunnel);
    let answer = site.get(&format!("http://api.example:{http}/a?b=c"));
    assert_eq!(status_of(&answer), 200, "{answer}");
    let seen = backend.last();
    assert_eq!(seen.target, "/a?b=c");
    assert_eq!(seen.header("host"), format!("api.example:{http}"));
    assert_eq!(seen.header("proxy-authorization"), "");
    let audit = site.audit("raw.example");
    assert_eq!(audit["upstreamProxy"], "squid", "{audit}");
    assert_eq!(audit.get("dialled"), None, "{audit}");
    assert_eq!(audit.get("resolved"), None, "{audit}");
    wait_for("the log of Squid", || squid.access_log().len() == 2);
    let log = squid.access_log().join("\n");
    assert!(
        log.contains(&format!("CONNECT raw.example:{raw} bob ")),
        "{log}"
    );
    assert!(
        log.contains(&format!("GET http://api.example:{http}/a? bob ")),
        "{log}"
    );
    // What is denied is not even asked for there.
    let (_, answer) = site.connect(&format!("api.test:{http}"));
    assert_eq!(reason(&answer), "egress/not_allowed");
    assert_eq!(squid.access_log().len(), 2);
    // Nor is what would be answered with the credentials.
    for method in ["TRACE", "track"] {
        let request = format!(
            "{method} http://api.example:{http}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n"
        );
        let mut client = Raw::connect(site.proxy());
        let answer = client.send(request.as_bytes()).response();
        assert_eq!(reason(&answer), "egress/trace_refused", "{answer}");
    }
    assert_eq!(squid.access_log().len(), 2);
    // Nobody is told the credentials.
    let (_, dump) = site.gateway.admin("/config");
    let told = format!(
        "{dump}{:?}{}",
        site.gateway.audit_lines(),
        site.gateway.log()
    );
    assert!(!told.contains("s3cret") && !told.contains("Ym9i"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_does_not_do_is_told_apart() {
    let Some(squid) = Squid::start("bob", "another") else {
        return;
    };
    let backend = Backend::start("one").await;
    let port = backend.address.port();
    let policies = allow(&format!(
        "[{{host: '*.example', publicSuffix: true, ports: [{port}], raw: true}}]"
    ));
    let known = site(
        &through(&squid, ""),
        &policies,
        &["other.test=192.0.2.1"],
        &[],
    );
    let tunnel = known.connect(&format!("api.example:{port}")).1;
    let plain = known.get(&format!("http://api.example:{port}/"));
    for answer in [tunnel, plain] {
        // A client that was told 407 would show what it has.
        assert_eq!(status_of(&answer), 502, "{answer}");
        assert_eq!(
            reason(&answer),
            "egress/upstream_proxy_unauthorized",
            "{answer}"
        );
        assert!(
            !answer.to_ascii_lowercase().contains("proxy-authenticate"),
            "{answer}"
        );
    }
    let (_, answer) = known.connect(&format!("forbidden.example:{port}"));
    assert_eq!(reason(&answer), "egress/upstream_proxy_refused", "{answer}");
    // No proxy at all; and one that is something else.
    let nobody = Nobody::here();
    let gone = nobody.address;
    let echo = Echo::start("SSH-2.0-none\r\n\r\n").await;
    for (address, count) in [(gone, 0), (echo.address, 1)] {
        let proxies = format!("{{name: p, addresses: ['{address}'], resolve: proxy}}");
        let site = site(&proxies, &policies, &["other.test=192.0.2.1"], &[]);
        let (_, answer) = site.connect(&format!("api.example:{port}"));
        assert_eq!(status_of(&answer), 502, "{answer}");
        assert_eq!(reason(&answer), "egress/upstream_proxy_failed", "{answer}");
        assert_eq!(echo.connections(), count);
        let record = site.audit("api.example");
        assert_eq!(record["verdict"], "error", "{record}");
        assert_eq!(record["upstreamProxy"], "p", "{record}");
    }
    // One that says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = silent.local_addr().expect("a socket");
    let proxies =
        format!("{{name: p, addresses: ['{address}'], resolve: proxy, answerTimeout: 300ms}}");
    let site = site(&proxies, &policies, &["other.test=192.0.2.1"], &[]);
    let (_, answer) = site.connect(&format!("api.example:{port}"));
    assert_eq!(status_of(&answer), 504, "{answer}");
    assert_eq!(reason(&answer), "egress/upstream_proxy_timeout", "{answer}");
    assert_eq!(backend.requests(), 0);
}

/// Another Portcullis, over TLS, which lets everything public pass and leads it to a backend.
fn outer(authority: &Authority, map: &[(u16, SocketAddr)]) -> Gateway {
    let policies = "  - {name: all, subjects: [{addresses: [127.0.0.0/8]}], allow: [{cidr: 0.0.0.0/0, ports: [80, 443], raw: true}]}\n";
    let yaml = tls::config("tls: {defaultCertificate: proxy}", "", policies);
    tls::start(authority, &yaml, map)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_pinned_to_an_address_that_was_judged() {
    let authority = Authority::named("of proxies");
    let backend = Backend::start("one").await;
    let outer = outer(&authority, &[(80, backend.address)]);
    let nobody = Nobody::here();
    let gone = nobody.address;
    let port = outer.at("egress/proxy").port();
    // The second is tried where the first is not there.
    let proxies = format!(
        "{{name: outer, addresses: ['{gone}', '127.0.0.1:{port}'], tls: {{ca: ca.crt, serverName: localhost}}, noProxy: [direct.example, 10.0.0.0/8]}}"
    );
    let public = format!("raw.example={PUBLIC}");
    let direct = format!("direct.example={PUBLIC}");
    let dns = [
        public.as_str(),
        direct.as_str(),
        "inner.example=10.0.0.1",
        "blocked.example=169.254.169.254",
    ];
    let by_itself = Backend::start("itself").await;
    let (to_direct, to_inner) = (format!("{PUBLIC}:80"), "10.0.0.1:80".to_owned());
    let map = [
        (to_direct.as_str(), by_itself.address),
        (to_inner.as_str(), by_itself.address),
    ];
    let policies = allow("[{host: '*.example', publicSuffix: true, ports: [80], private: true}]");
    let files = [("ca.crt", authority.pem())];
    let site = site_with("", &proxies, &policies, &dns, &map, &files);
    let answer = site.get("http://raw.example/x");
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert_eq!(backend.last().header("host"), "raw.example");
    let audit = site.audit("raw.example");
    assert_eq!(audit["upstreamProxy"], "outer", "{audit}");
    assert_eq!(audit["dialled"], format!("{PUBLIC}:80"), "{audit}");
    wait_for("its record", || !outer.audit_lines().is_empty());
    assert_eq!(outer.audit_lines()[0]["host"], PUBLIC);
    // An address that is never reached is none of the other proxy either.
    let answer = site.get("http://blocked.example/");
    assert_eq!(reason(&answer), "egress/always_blocked");
    // What goes without it, by its name and by its address.
    for host in ["direct.example", "inner.example"] {
        let answer = site.get(&format!("http://{host}/"));
        assert!(answer.contains("itself"), "{host}: {answer}");
        assert_eq!(site.audit(host).get("upstreamProxy"), None);
    }
    assert_eq!(outer.audit_lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_prove_its_name_is_shown_nothing() {
    let authority = Authority::named("of proxies");
    let backend = Backend::start("one").await;
    let outer = outer(&authority, &[(80, backend.address)]);
    let address = outer.at("egress/proxy");
    let public = format!("raw.example={PUBLIC}");
    let policies = allow("[{host: raw.example, ports: [80]}]");
    let other = Authority::named("of others").pem();
    for (tls, ca) in [
        ("{ca: ca.crt, serverName: localhost}", other),
        ("{ca: ca.crt, serverName: proxy.example}", authority.pem()),
        ("{ca: ca.crt}", authority.pem()),
    ] {
        let proxies =
            format!("{{name: outer, addresses: ['{address}'], tls: {tls}, credentials: login}}");
        let files = [("ca.crt", ca)];
        let site = site_with("", &proxies, &policies, &[&public], &[], &files);
        let answer = site.get("http://raw.example/");
        assert_eq!(reason(&answer), "egress/upstream_proxy_failed", "{tls}");
    }
    assert_eq!(backend.requests() + outer.audit_lines().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_looked_into_behind_a_proxy_too() {
    let proxies = Authority::named("of proxies");
    let destinations = Authority::named("of destinations");
    let server = destinations.server(&["api.example"], &["http/1.1"]);
    let backend = Backend::start_tls("one", server).await;
    let outer = outer(&proxies, &[(443, backend.address)]);
    let own = Authority::named("of the proxy");
    let files = [
        ("proxies.crt", proxies.pem()),
        ("trust.crt", destinations.pem()),
        ("ca.crt", own.pem()),
        ("ca.key", own.key_pem()),
    ];
    let through = format!(
        "{{name: outer, addresses: ['{}'], tls: {{ca: proxies.crt, serverName: localhost}}}}",
        outer.at("egress/proxy")
    );
    let policies = allow("[{host: api.example, inspect: true, paths: [/in]}]");
    let dns = format!("api.example={PUBLIC}");
    let site = site_with(INSPECTION, &through, &policies, &[&dns], &[], &files);
    let tls = own.client(&["http/1.1"]);
    let mut inside = Inside::connect(site.proxy(), "api.example:443", tls).expect("a handshake");
    for (path, status) in [("/in", 200), ("/out", 403)] {
        let answer = inside.ask(&format!("GET {path} HTTP/1.1\r\nHost: api.example\r\n\r\n"));
        assert_eq!(status_of(&answer), status, "{answer}");
    }
    assert_eq!(backend.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_judged_ends_when_it_is_to_be_judged() {
    let Some(squid) = Squid::start("bob", "s3cret word") else {
        return;
    };
    let echo = Echo::start("hello").await;
    let port = echo.address.port();
    let policies = allow(&format!(
        "[{{host: raw.example, ports: [{port}], raw: true}}]"
    ));
    let site = site(
        &through(&squid, ""),
        &policies,
        &["raw.example=93.184.215.14"],
        &[],
    );
    let (mut tunnel, answer) = site.connect(&format!("raw.example:{port}"));
    assert_eq!(status_of(&answer), 200, "{answer}");
    let list = |resolve: &str, note: &str| {
        let proxies = through(&squid, "").replace("resolve: proxy", &format!("resolve: {resolve}"));
        config(&format!("upstreamProxies: [{proxies}] # {note}"), &policies)
    };
    site.gateway.reload(&list("proxy", "as it was"));
    assert_eq!(tunnel.read(5), b"hello");
    tunnel.send(b"ping");
    assert_eq!(tunnel.read(4), b"ping");
    site.gateway.reload(&list("checked", "and judged"));
    assert!(tunnel.ends());
    site.told("raw.example", "ended", "policy_changed");
    // Judged, and asked for by its name.
    let (mut tunnel, answer) = site.connect(&format!("raw.example:{port}"));
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert_eq!(tunnel.read(5), b"hello");
    drop(tunnel);
    wait_for("the record", || {
        site.audit("raw.example")["resolved"] == serde_json::json!([PUBLIC])
    });
}
