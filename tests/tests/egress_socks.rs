//! The egress proxy over SOCKS5 (RFC 1928).

use std::{net::SocketAddr, process::Command};

use portcullis_tests::{Authority, Backend, Gateway, Raw, Recorder, wait_for};
use serde_json::Value;

/// A public address; the test map leads it to this machine after it was judged.
const PUBLIC: &str = "93.184.215.14";

const GREETING: &[u8] = &[5, 1, 0];

fn config(protocol: &str, allow: &str) -> String {
    format!(
        r"
egress:
  listeners: [{{name: proxy, address: '127.0.0.1:0', protocol: {protocol}}}]
  limits: {{headTimeout: 1s}}
  policies:
  - {{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], allow: {allow}}}
"
    )
}

fn start(allow: &str, target: SocketAddr) -> Gateway {
    let arguments = [
        "--test-dns".to_owned(),
        format!("api.example={PUBLIC}"),
        "--test-dns".to_owned(),
        "inside.example=10.0.0.7".to_owned(),
        "--test-address-map".to_owned(),
        format!("{PUBLIC}:443={target}"),
        "--test-address-map".to_owned(),
        format!("{PUBLIC}:80={target}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    Gateway::start_in(folder, &config("socks5", allow), &arguments)
}

/// A request for a name.
fn named(name: &[u8], port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a name of 255 bytes at most");
    [&[5, 1, 0, 3, length], name, &port.to_be_bytes()].concat()
}

/// The audit lines, once there are so many.
fn audited(gateway: &Gateway, count: usize) -> Vec<Value> {
    wait_for("the audit line", || gateway.audit_lines().len() >= count);
    gateway.audit_lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_goes_through_it_with_names_looked_up_here() {
    let authority = Authority::new();
    let tls = authority.server(&["api.example"], &["http/1.1"]);
    let backend = Backend::start_tls("one", tls).await;
    let gateway = start("[api.example]", backend.address);
    let ca = gateway.folder().join("ca.crt");
    std::fs::write(&ca, authority.pem()).expect("writable");
    let curl = |url: &str| {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "10", "--proxy"])
            .arg(format!("socks5h://{}", gateway.at("egress/proxy")))
            .arg("--cacert")
            .arg(&ca)
            .arg(url)
            .output()
            .expect("curl runs");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    assert!(curl("https://API.example/x").ends_with("one /x"));
    let line = &audited(&gateway, 1)[0];
    assert_eq!(line["method"], "SOCKS5");
    assert_eq!(line["host"], "api.example");
    assert_eq!(line["verdict"], "allow");
    assert_eq!(line["dialled"], format!("{PUBLIC}:443"));
    let refused = curl("https://other.example/");
    assert!(refused.contains("(2)"), "{refused}");
    assert_eq!(audited(&gateway, 2)[1]["reason"], "not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_code_and_no_byte_passes() {
    let recorder = Recorder::start().await;
    let gateway = start(
        "[api.example, inside.example, nowhere.example, {cidr: '93.0.0.0/8', ports: [443]}]",
        recorder.address,
    );
    let literal = |kind: u8, address: &[u8]| [&[5, 1, 0, kind], address, &[1, 187]].concat();
    let cases: Vec<(&str, Vec<u8>, u8, &str)> = vec![
        ("a name", named(b"other.example", 443), 2, "not_allowed"),
        ("a port", named(b"api.example", 22), 2, "port_not_allowed"),
        (
            "private",
            named(b"inside.example", 443),
            2,
            "private_address",
        ),
        ("nowhere", named(b"nowhere.example", 443), 4, "dns_nxdomain"),
        (
            "an address as a name",
            named(b"127.0.0.1", 443),
            2,
            "always_blocked",
        ),
        ("a short one", named(b"127.1", 443), 2, "numeric_host"),
        ("a number", named(b"2130706433", 443), 2, "numeric_host"),
        ("six as a name", named(b"::1", 443), 2, "bad_host"),
        ("in brackets", named(b"[::1]", 443), 2, "bad_host"),
        (
            "a zero byte",
            named(b"api.example\0.test", 443),
            2,
            "bad_host",
        ),
        ("a space", named(b"api.example ", 443), 2, "bad_host"),
        (
            "beyond ASCII",
            named("b\u{fc}cher.example".as_bytes(), 443),
            2,
            "non_ascii_host",
        ),
        (
            "no text at all",
            named(&[0xff, 0xfe], 443),
            2,
            "non_ascii_host",
        ),
        ("no name", named(b"", 443), 1, "bad_host"),
        ("port 0", named(b"api.example", 0), 2, "bad_port"),
        (
            "metadata",
            literal(1, &[169, 254, 169, 254]),
            2,
            "always_blocked",
        ),
        (
            "loopback in six",
            literal(4, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]),
            2,
            "always_blocked",
        ),
        (
            "another address",
            literal(1, &[9, 9, 9, 9]),
            2,
            "ip_literal",
        ),
        (
            "BIND",
            [&[5, 2, 0, 1], &[93, 184, 215, 14][..], &[1, 187]].concat(),
            7,
            "socks_command",
        ),
        (
            "UDP",
            [&[5, 3, 0, 1], &[93, 184, 215, 14][..], &[1, 187]].concat(),
            7,
            "socks_command",
        ),
        (
            "an unknown kind",
            vec![5, 1, 0, 2, 1, 1, 1],
            8,
            "socks_address_type",
        ),
        (
            "another version",
            vec![4, 1, 0, 1, 9, 9, 9, 9, 1, 187],
            1,
            "socks_request",
        ),
        (
            "what is reserved",
            vec![5, 1, 1, 1, 9, 9, 9, 9, 1, 187],
            1,
            "socks_request",
        ),
    ];
    for (number, (what, request, code, reason)) in cases.into_iter().enumerate() {
        let mut client = Raw::connect(gateway.at("egress/proxy"));
        client.send(GREETING);
        client.send(&request);
        let answer = client.read(1 << 20);
        assert_eq!(
            answer,
            [&[5, 0, 5, code, 0, 1][..], &[0; 6]].concat(),
            "{what}"
        );
        let line = &audited(&gateway, number + 1)[number];
        assert_eq!(line["reason"], reason, "{what}");
        assert_eq!(line["method"], "SOCKS5", "{what}");
    }
    assert_eq!(recorder.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_something_else_is_told_and_who_stalls_is_closed() {
    let recorder = Recorder::start().await;
    let gateway = start("[api.example]", recorder.address);
    let ask = |bytes: &[u8]| {
        let mut client = Raw::connect(gateway.at("egress/proxy"));
        client.send(bytes);
        client.read(1 << 20)
    };
    // Name and password alone: a token is too long for them.
    assert_eq!(ask(&[5, 1, 2]), [5, 0xff]);
    assert_eq!(ask(&[5, 0]), [5, 0xff], "no method at all");
    assert_eq!(
        ask(&[4, 1, 0, 80, 1, 1, 1, 1, 0]),
        [0, 0x5b, 0, 0, 0, 0, 0, 0]
    );
    let http = ask(b"CONNECT api.example:443 HTTP/1.1\r\n\r\n");
    let http = String::from_utf8_lossy(&http).into_owned();
    assert!(http.starts_with("HTTP/1.1 400 "), "{http}");
    assert!(http.contains("SOCKS5"), "{http}");
    assert_eq!(ask(&[0x16, 3, 1]), b"", "TLS");
    let mut reasons: Vec<_> = audited(&gateway, 5)
        .iter()
        .map(|line| line["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    // Each is written when its connection has ended, whichever of two was the first.
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "socks_method",
            "socks_method",
            "socks_version",
            "socks_version",
            "socks_version"
        ]
    );
    // Each is closed in `headTimeout`, and so is one that comes byte by byte.
    for part in [&[][..], &[5], &[5, 9, 0], &[5, 1, 0, 5, 1, 0, 3, 200, b'a']] {
        let mut client = Raw::connect(gateway.at("egress/proxy"));
        client.send(part);
        assert!(client.ends(), "{part:?}");
    }
    assert_eq!(recorder.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_inside_the_tunnel_is_judged_and_what_came_early_is_not_lost() {
    let recorder = Recorder::start().await;
    let gateway = start("[api.example]", recorder.address);
    let hello = |name: &str| {
        let name = rustls_pki_types::ServerName::try_from(name.to_owned()).expect("a name");
        let config = Authority::new().client(&["http/1.1"]);
        let mut client = rustls::ClientConnection::new(config, name).expect("a client");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("in memory");
        hello
    };
    let request = named(b"API.example.", 443);
    let mut client = Raw::connect(gateway.at("egress/proxy"));
    // All at once, as clients do that do not wait for replies.
    client.send(&[GREETING, &request, &hello("evil.example")].concat());
    assert_eq!(client.read(1 << 20).len(), 12);
    assert_eq!(audited(&gateway, 1)[0]["reason"], "sni_mismatch");
    assert_eq!(recorder.bytes(), 0);
    let good = hello("api.example");
    let mut client = Raw::connect(gateway.at("egress/proxy"));
    client.send(&[GREETING, &request, &good].concat());
    wait_for("the hello", || recorder.bytes() == good.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_here_as_well() {
    let recorder = Recorder::start().await;
    let entry = "[{host: api.example, raw: true, quota: {bytesOut: 1011B}}]";
    let gateway = start(entry, recorder.address);
    let mut request = GREETING.to_vec();
    request.extend(named(b"api.example", 443));
    let mut client = Raw::connect(gateway.at("egress/proxy"));
    client.send(&[&request[..], &[7; 1000]].concat());
    // With the name that was looked up.
    wait_for("what fits", || recorder.bytes() == 1000);
    client.send(b"x");
    assert!(client.ends());
    assert_eq!(audited(&gateway, 1)[0]["ended"], "quota_bytes_out");
    let mut client = Raw::connect(gateway.at("egress/proxy"));
    client.send(&request);
    assert_eq!(
        client.read(1 << 20),
        [&[5, 0][..], &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]].concat()
    );
    let line = &audited(&gateway, 2)[1];
    assert_eq!(
        (&line["reason"], &line["status"]),
        (&"quota_bytes_out".into(), &429.into())
    );
    assert_eq!(recorder.bytes(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_changes_what_it_speaks_without_being_bound_again() {
    let recorder = Recorder::start().await;
    let gateway = start("[api.example]", recorder.address);
    let address = gateway.at("egress/proxy");
    gateway.reload(&config("http", "[api.example]"));
    assert_eq!(gateway.at("egress/proxy"), address);
    let mut client = Raw::connect(address);
    client.send(b"CONNECT other.example:443 HTTP/1.1\r\n\r\n");
    assert!(client.response().starts_with("HTTP/1.1 403 "));
    gateway.reload(&config("socks5", "[api.example, more.example]"));
    let mut client = Raw::connect(address);
    client.send(&[5, 1, 2]);
    assert_eq!(client.read(1 << 20), [5, 0xff]);
}
