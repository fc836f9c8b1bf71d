//! The name in a ClientHello beside the one that was asked for.

use std::{
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use portcullis_tests::{
    Authority, Backend, Inside, Recorder,
    egress_site::{PUBLIC, Site, allow, client_hello, config, reason},
    status_of, wait_for, with_ech, with_padding,
};

/// Runs `openssl s_client` through a proxy with a request: all that it prints.
fn s_client(proxy: SocketAddr, more: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            "good.test:443",
            "-ign_eof",
            "-proxy",
        ])
        .arg(proxy.to_string())
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    let mut input = child.stdin.take().expect("it is piped");
    // It may have ended already.
    let _ = input.write_all(b"GET /x HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\n\r\n");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

async fn good() -> Backend {
    let server = Authority::new().server(&["good.test"], &["http/1.1"]);
    Backend::start_tls("one", server).await
}

fn site(policies: &str, target: SocketAddr) -> Site {
    Site::start(
        policies,
        &[&format!("good.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:443"), target)],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_23_a_tunnel_is_for_the_name_that_was_asked_for() {
    let backend = good().await;
    let checked = site(&allow("[{host: good.test, ports: [443]}]"), backend.address);
    let said = s_client(checked.proxy(), &["-servername", "good.test"]);
    assert!(said.contains("one /x"), "{said}");
    assert_eq!(backend.connections(), 1);
    for (more, reason) in [
        (&["-servername", "evil.test"][..], "sni_mismatch"),
        (&["-servername", "good.test.evil.test"], "sni_mismatch"),
        (&["-noservername"], "sni_missing"),
    ] {
        let said = s_client(checked.proxy(), more);
        assert!(!said.contains("one /x"), "{more:?}: {said}");
        let line = checked.told("good.test", "reason", reason);
        assert_eq!(
            (&line["verdict"], &line["bytesUp"]),
            (&"deny".into(), &0.into()),
            "{line}"
        );
    }
    let requests = backend.requests();
    assert_eq!(requests, 1, "nothing has left");

    // An entry that is not looked at, `raw`: whoever answers for the name is trusted, and a site
    // beside it can be meant (docs/egress.md, "Encrypted names").
    let unchecked = site(
        &allow("[{host: good.test, ports: [443], raw: true}]"),
        backend.address,
    );
    for more in [&["-servername", "evil.test"][..], &["-noservername"]] {
        let said = s_client(unchecked.proxy(), more);
        assert!(said.contains("one /x"), "{more:?}: {said}");
    }
    let page = include_str!("../../../docs/egress.md");
    assert!(page.contains("(domain fronting)"), "it is documented");
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_23_a_clienthello_is_judged_however_it_comes() {
    let recorder = Recorder::start().await;
    let entries = "[{host: good.test, ports: [443]}]";
    let plain = site(&allow(entries), recorder.address);
    let authority = Authority::new();
    let hello = client_hello(&authority, "good.test");
    // As long as one with keys of several post-quantum groups, in two records.
    let large = with_padding(hello.clone(), 20_000);
    assert!(large.len() > 16 << 10);
    let mut passed = 0;
    for (bytes, segments) in [
        (hello.clone(), 1),
        (hello.clone(), 3),
        (hello.clone(), hello.len()),
        (large.clone(), 1),
        (large, 3),
        // What browsers send; a policy may refuse it, below.
        (with_ech(hello.clone()), 1),
    ] {
        let (mut tunnel, answer) = plain.connect("good.test:443");
        assert_eq!(status_of(&answer), 200, "{answer}");
        for segment in bytes.chunks(bytes.len().div_ceil(segments)) {
            assert_eq!(
                recorder.bytes(),
                passed,
                "nothing leaves before all is there"
            );
            tunnel
                .send(segment)
                .pause(Duration::from_millis(if segments > 3 { 1 } else { 50 }));
        }
        passed += bytes.len() as u64;
        wait_for("the bytes", || recorder.bytes() == passed);
    }
    let evil = client_hello(&authority, "evil.test");
    for (bytes, reason) in [
        (with_padding(evil.clone(), 20_000), "sni_mismatch"),
        (with_ech(evil), "sni_mismatch"),
        (
            with_padding(hello.clone(), 40_000),
            "client_hello_too_large",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "not_tls"),
        (
            b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n".to_vec(),
            "not_tls",
        ),
    ] {
        let (mut tunnel, _) = plain.connect("good.test:443");
        tunnel.send(&bytes);
        assert!(tunnel.ends(), "{reason}");
        plain.told("good.test", "reason", reason);
    }
    assert_eq!(recorder.bytes(), passed);
    let refusing = format!(
        "  - {{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], encryptedClientHello: refuse, allow: {entries}}}\n"
    );
    let refusing = site(&refusing, recorder.address);
    let (mut tunnel, _) = refusing.connect("good.test:443");
    assert!(tunnel.send(&with_ech(hello)).ends());
    refusing.told("good.test", "reason", "encrypted_client_hello");
    assert_eq!(recorder.bytes(), passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_23_inside_a_tunnel_that_is_looked_into_each_request_is_for_its_name() {
    let (proxy, destination) = (
        Authority::named("of the proxy"),
        Authority::named("of others"),
    );
    let server = destination.server(&["good.test"], &["http/1.1"]);
    let backend = Backend::start_tls("one", server).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [
        ("ca.crt", proxy.pem()),
        ("ca.key", proxy.key_pem()),
        ("trust.crt", destination.pem()),
    ] {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    let inspection = "inspection: {certificate: ca.crt, key: ca.key, trust: trust.crt}";
    let site = Site::start_in(
        folder,
        &config(
            inspection,
            &allow("[{host: good.test, inspect: true}, other.test]"),
        ),
        &[&format!("good.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:443"), backend.address)],
    );
    let mut inside = Inside::connect(site.proxy(), "good.test:443", proxy.client(&["http/1.1"]))
        .expect("a handshake");
    for (host, expected) in [
        ("good.test", (200, "")),
        ("good.test:443", (200, "")),
        ("other.test", (421, "egress/authority_mismatch")),
        ("evil.test", (421, "egress/authority_mismatch")),
        ("good.test", (200, "")),
    ] {
        let answer = inside.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(
            (status_of(&answer), reason(&answer)),
            expected,
            "{host}: {answer}"
        );
    }
    assert_eq!(backend.requests(), 3);
}
