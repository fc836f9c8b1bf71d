//! The listener of the egress proxy over TLS.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_tests::{Authority, Backend, Echo, Gateway, Raw, status_of};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::site::{PUBLIC, allow};

const TLS: &str = "tls: {defaultCertificate: proxy}";

pub(super) fn config(listener: &str, more: &str, policies: &str) -> String {
    format!(
        "certificates: [{{name: proxy, certificate: proxy.crt, key: proxy.key}}]\n\
         egress:\n  listeners: [{{name: proxy, address: '127.0.0.1:0', {listener}}}]\n  {more}\n  policies:\n{policies}"
    )
}

/// A proxy with a certificate for `localhost`, whose names of `example` lead to a target.
pub(super) fn start(
    authority: &Authority,
    yaml: &str,
    targets: &[(u16, std::net::SocketAddr)],
) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "proxy", &["localhost"]);
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).expect("writable");
    let mut arguments = vec![
        "--test-dns".to_owned(),
        format!("api.example={PUBLIC}"),
        "--test-dns".to_owned(),
        format!("raw.example={PUBLIC}"),
    ];
    for (port, to) in targets {
        arguments.extend(["--test-address-map".into(), format!("{PUBLIC}:{port}={to}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Gateway::start_in(folder, yaml, &arguments)
}

pub(super) async fn shake(
    authority: &Authority,
    gateway: &Gateway,
    alpn: &[&str],
) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(gateway.at("egress/proxy")).await;
    let name = "localhost".try_into().expect("a name");
    let connector = TlsConnector::from(authority.client(alpn));
    let shaken = connector.connect(name, socket.expect("it listens"));
    shaken.await.expect("a handshake")
}

pub(super) async fn ask(stream: &mut TlsStream<TcpStream>, target: &str) -> String {
    ask_with(stream, target, "").await
}

/// Asks for a tunnel with header lines of the test's own.
pub(super) async fn ask_with(
    stream: &mut TlsStream<TcpStream>,
    target: &str,
    lines: &str,
) -> String {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    stream.flush().await.expect("it is sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    let mut head = String::from_utf8(head).expect("text");
    // The body of a refusal, so that the next answer can be read.
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a body");
    head.push_str(&String::from_utf8(body).expect("text"));
    head
}

pub(super) async fn says(stream: &mut TlsStream<TcpStream>, text: &[u8]) {
    stream.write_all(text).await.expect("it is sent");
    stream.flush().await.expect("it is sent");
    let mut read = vec![0; text.len()];
    stream.read_exact(&mut read).await.expect("an echo");
    assert_eq!(read, text);
}

pub(super) const RAW: &str = "[{host: raw.example, ports: [22], raw: true}]";

#[tokio::test(flavor = "multi_thread")]
async fn curl_asks_over_tls_for_tunnels_and_plain_requests() {
    let authority = Authority::new();
    let plain = Backend::start("plain").await;
    let tls = Backend::start_tls("tls", authority.server(&["api.example"], &["http/1.1"])).await;
    let yaml = config(TLS, "", &allow("[api.example]"));
    let targets = [(80, plain.address), (443, tls.address)];
    let gateway = start(&authority, &yaml, &targets);
    let ca = gateway.folder().join("ca.crt");
    for (url, status, expected) in [
        ("https://api.example/x", 200, "tls /x"),
        ("http://api.example/x", 200, "plain /x"),
        ("http://other.example/x", 403, "not_allowed"),
    ] {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "10", "-w", "%{http_code}", "--proxy"])
            .arg(format!(
                "https://localhost:{}",
                gateway.at("egress/proxy").port()
            ))
            .arg("--proxy-cacert")
            .arg(&ca)
            .arg("--cacert")
            .arg(&ca)
            .arg(url)
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{url}: {said} {failed}");
        assert!(said.ends_with(&status.to_string()), "{url}: {said}");
    }
    // A body of more than a few records, both ways.
    let body = "z".repeat(3 << 20);
    let file = gateway.folder().join("body");
    std::fs::write(&file, &body).expect("writable");
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--proxy-insecure", "--proxy"])
        .arg(format!(
            "https://localhost:{}",
            gateway.at("egress/proxy").port()
        ))
        .arg("--cacert")
        .arg(&ca)
        .args(["https://api.example/up", "--data-binary"])
        .arg(format!("@{}", file.display()))
        .output()
        .expect("curl runs");
    let failed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        tls.last().body_sha256,
        portcullis_tests::sha256(body.as_bytes()),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_of_a_tunnel_over_tls_ends_its_direction_alone() {
    let authority = Authority::new();
    let target = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = target.local_addr().expect("it is bound");
    let yaml = config(TLS, "", &allow(RAW));
    let gateway = start(&authority, &yaml, &[(22, at)]);
    // The client ends first.
    let mut client = shake(&authority, &gateway, &["http/1.1"]).await;
    let answer = ask(&mut client, "raw.example:22").await;
    assert_eq!(status_of(&answer), 200, "{answer}");
    let (mut server, _) = target.accept().await.expect("a tunnel");
    client.write_all(b"question").await.expect("it is sent");
    client.shutdown().await.expect("it is told");
    let mut read = Vec::new();
    server.read_to_end(&mut read).await.expect("an end");
    assert_eq!(read, b"question");
    server.write_all(b"answer").await.expect("it is sent");
    drop(server);
    let mut read = Vec::new();
    // Without a `close_notify` this is an error.
    client.read_to_end(&mut read).await.expect("a clean end");
    assert_eq!(read, b"answer");
    // The server ends first.
    let mut client = shake(&authority, &gateway, &[]).await;
    ask(&mut client, "raw.example:22").await;
    let (mut server, _) = target.accept().await.expect("a tunnel");
    server.write_all(b"banner").await.expect("it is sent");
    server.shutdown().await.expect("it is told");
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.expect("a clean end");
    assert_eq!(read, b"banner");
    client.write_all(b"later").await.expect("it is sent");
    client.shutdown().await.expect("it is told");
    let mut read = Vec::new();
    server.read_to_end(&mut read).await.expect("an end");
    assert_eq!(read, b"later");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_or_too_slowly_is_closed_soon() {
    let authority = Authority::new();
    let yaml = config(TLS, "limits: {handshakeTimeout: 700ms}", &allow(RAW));
    let gateway = start(&authority, &yaml, &[]);
    let hello = super::site::client_hello(&authority, "localhost");
    for (what, bytes, outcome) in [
        (
            "a plain request",
            &b"CONNECT raw.example:22 HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            "handshake_failed",
        ),
        ("half a hello", &hello[..60], "handshake_failed"),
        ("a hello, and no more", &hello[..], "handshake_failed"),
        ("nothing", &b""[..], "handshake_failed"),
    ] {
        let series =
            format!("portcullis_connections_total{{listener=\"egress\",outcome=\"{outcome}\"}}");
        let before = gateway.metric(&series).unwrap_or(0.0);
        let began = Instant::now();
        let mut client = Raw::connect(gateway.at("egress/proxy"));
        client.send(bytes);
        assert!(client.ends(), "{what}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        portcullis_tests::wait_for("the metric", || {
            gateway.metric(&series).unwrap_or(0.0) > before
        });
    }
    assert!(gateway.audit_lines().is_empty(), "nobody has asked yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_tls_itself_change_under_open_connections() {
    let authority = Authority::new();
    let echo = Echo::start("").await;
    let policies = allow(RAW);
    let yaml = config(TLS, "", &policies);
    let gateway = start(&authority, &yaml, &[(22, echo.address)]);
    let mut tunnel = shake(&authority, &gateway, &[]).await;
    ask(&mut tunnel, "raw.example:22").await;
    says(&mut tunnel, b"one").await;
    let mut waiting = shake(&authority, &gateway, &[]).await;
    let refused = ask(&mut waiting, "no.example:22").await;
    assert_eq!(status_of(&refused), 403);
    let leaf = |stream: &TlsStream<TcpStream>| {
        let shown = stream.get_ref().1.peer_certificates();
        shown.expect("a certificate")[0].to_vec()
    };
    let before = leaf(&tunnel);

    authority.write(gateway.folder(), "proxy", &["localhost"]);
    let deadline = Instant::now() + Duration::from_secs(15);
    while leaf(&shake(&authority, &gateway, &[]).await) == before {
        assert!(Instant::now() < deadline, "the certificate does not change");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    says(&mut tunnel, b"two").await;

    // In clear, on the same socket.
    let at = gateway.at("egress/proxy");
    gateway.reload(&config("protocol: http", "", &policies));
    assert_eq!(gateway.at("egress/proxy"), at);
    let mut plain = Raw::connect(at);
    plain.send(b"CONNECT raw.example:22 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status_of(&plain.response()), 200);
    plain.send(b"three");
    assert_eq!(plain.read(5), b"three");
    says(&mut tunnel, b"four").await;

    // And back.
    gateway.reload(&yaml);
    let mut late = Raw::connect(at);
    late.send(b"CONNECT raw.example:22 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(late.ends());
    plain.send(b"five");
    assert_eq!(plain.read(4), b"five");
    says(&mut tunnel, b"six").await;
    let mut again = shake(&authority, &gateway, &[]).await;
    let answer = ask(&mut again, "raw.example:22").await;
    assert_eq!(status_of(&answer), 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn socks_goes_over_tls_as_well() {
    let authority = Authority::new();
    let echo = Echo::start("").await;
    let yaml = config(&format!("protocol: socks5, {TLS}"), "", &allow(RAW));
    let gateway = start(&authority, &yaml, &[(22, echo.address)]);
    let mut client = shake(&authority, &gateway, &[]).await;
    client.write_all(&[5, 1, 0]).await.expect("it is sent");
    let mut method = [0; 2];
    client.read_exact(&mut method).await.expect("a method");
    assert_eq!(method, [5, 0]);
    let request = b"\x05\x01\x00\x03\x0braw.example\x00\x16";
    client.write_all(request).await.expect("it is sent");
    let mut reply = [0; 10];
    client.read_exact(&mut reply).await.expect("a reply");
    assert_eq!(reply[1], 0, "{reply:?}");
    says(&mut client, b"hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_another_name_gets_no_certificate_of_ours() {
    let authority = Authority::new();
    let yaml = config("tls: {}", "", &allow(RAW));
    let gateway = start(&authority, &yaml, &[]);
    let socket = TcpStream::connect(gateway.at("egress/proxy")).await;
    let connector = TlsConnector::from(Arc::clone(&authority.client(&[])));
    let name = "other.example".try_into().expect("a name");
    let shaken = connector.connect(name, socket.expect("it listens")).await;
    let error = shaken.expect_err("no certificate").to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
}
