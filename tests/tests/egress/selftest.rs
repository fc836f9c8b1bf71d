//! `portcullis egress selftest`, on a machine where all ways are known.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    process::Command,
};

use portcullis_tests::{Recorder, UdpEcho, portcullis};

use super::site::{PUBLIC, Site, allow};

/// An address where nothing listens.
fn nothing() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("bound")
}

/// Runs it with one way of each kind; returns the status and what was printed.
fn run(
    proxy: SocketAddr,
    tcp: SocketAddr,
    quic: SocketAddr,
    dns: SocketAddr,
    public: SocketAddr,
    more: &[&str],
) -> (Option<i32>, String) {
    let output = Command::new(portcullis())
        .args(["egress", "selftest", "--timeout", "1"])
        .args([
            "--target-address",
            "127.0.0.1",
            "--allowed",
            "db.example:443",
        ])
        .args(["--proxy", &format!("http://{proxy}")])
        .args(["--port", &tcp.port().to_string()])
        .args(["--quic-port", &quic.port().to_string()])
        .args(["--dns-server", &dns.to_string()])
        .args(["--public-dns", &public.to_string()])
        .args(more)
        .output()
        .expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_beside_the_proxy_is_found() {
    let database = Recorder::start().await;
    let proxy = |policy: &str| {
        Site::start(
            policy,
            &[&format!("db.example={PUBLIC}")],
            &[(&format!("{PUBLIC}:443"), database.address)],
        )
    };
    let entries = allow("[{host: db.example, ports: [443], raw: true}]");
    let site = proxy(&entries);
    let at = site.proxy();
    // One that is bound and says nothing is closed as one that is not there.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().map(|address| (silent, address));
    let (_silent, mute) = silent.expect("bound");
    let none = nothing();
    let (code, text) = run(at, none, mute, none, none, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("closed (silent for 1 s)"), "{text}");
    assert!(
        text.ends_with("the proxy is the only way that was found\n"),
        "{text}"
    );
    assert_eq!(text.matches("ok  ").count(), 6, "{text}");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let tcp = listener.local_addr().expect("bound");
    let echo = UdpEcho::start("answer");
    let udp = echo.address;
    for (what, (code, text)) in [
        ("TCP without", run(at, tcp, none, none, none, &[])),
        ("QUIC without", run(at, none, udp, none, none, &[])),
        ("DNS of the cluster", run(at, none, none, udp, none, &[])),
        ("DNS outside", run(at, none, none, none, udp, &[])),
    ] {
        assert_eq!(code, Some(1), "{what}: {text}");
        let failed: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("FAIL"))
            .collect();
        assert_eq!(failed.len(), 1, "{text}");
        assert!(failed[0].contains(what), "{text}");
        assert!(failed[0].ends_with("expected closed: open"), "{text}");
        assert!(text.ends_with("1 of 6 checks failed\n"), "{text}");
    }
    let (code, text) = run(at, none, none, udp, none, &["--allow-dns"]);
    assert_eq!(code, Some(0), "{text}");

    // A policy that only reports refuses nothing, and one that allows nothing refuses all.
    let report = proxy(&entries.replace("name: all,", "name: all, mode: report,"));
    let (code, text) = run(report.proxy(), none, none, none, none, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("expected 403: 502"), "{text}");
    let closed = proxy(&allow("[]"));
    let (code, text) = run(closed.proxy(), none, none, none, none, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("expected 200: 403"), "{text}");
    // Nor does a proxy that is not there prove anything.
    let (code, text) = run(none, none, none, none, none, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.ends_with("2 of 6 checks failed\n"), "{text}");
    let (code, text) = run(at, none, none, none, none, &["--token-file", "gone"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the token gone cannot be read"), "{text}");
}
