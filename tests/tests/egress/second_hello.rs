//! A destination that asks for another ClientHello, in which some go by another name.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_tests::{Authority, Raw, status_of, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::site::{PUBLIC, Site, allow, client_hello};

const HANDSHAKE: u8 = 22;

/// The random by which a ServerHello asks for another ClientHello (RFC 8446 section 4.1.3).
const RETRY: &str = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";

fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("short").to_be_bytes();
    [&[kind, 3, 3][..], &length, bytes].concat()
}

/// A ServerHello with this random, and no more than that.
fn server_hello(random: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&random[at..at + 2], 16).expect("hexadecimal");
    let random: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    record(HANDSHAKE, &[&[2, 0, 0, 34, 3, 3][..], &random].concat())
}

/// Says one thing to the first bytes of each connection, and keeps what it gets.
struct Destination {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Destination {
    fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let all = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, answer) = (Arc::clone(&all), answer.clone());
                std::thread::spawn(move || serve(stream, &answer, &all));
            }
        });
        Self { address, taken }
    }

    fn taken(&self) -> Vec<u8> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.clone()
    }
}

fn serve(mut stream: TcpStream, answer: &[u8], all: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    let mut is_first = true;
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        all.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(&bytes[..count]);
        if std::mem::take(&mut is_first) {
            // Long enough for what comes with the first bytes to have come.
            std::thread::sleep(Duration::from_millis(300));
            stream.write_all(answer).expect("the proxy listens");
        }
    }
}

fn site(destination: SocketAddr, settings: &str) -> Site {
    let public = format!("{PUBLIC}:443");
    let dns = format!("api.example={PUBLIC}");
    let policies = allow("[api.example]").replace("allow:", &format!("{settings}allow:"));
    Site::start(&policies, &[&dns], &[(&public, destination)])
}

/// A tunnel to the destination.
fn tunnel(site: &Site) -> Raw {
    let (tunnel, answer) = site.connect("api.example:443");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel
}

#[test]
fn a_second_hello_is_judged_as_the_first_one() {
    let authority = Authority::new();
    let good = client_hello(&authority, "api.example");
    let evil = client_hello(&authority, "evil.example");
    // As clients send it that make middleboxes believe in a session that goes on (RFC 8446, D.4).
    let change = record(20, &[1]);
    let early = record(23, b"early data");
    let destination = Destination::start(server_hello(RETRY));
    let site = site(destination.address, "");
    for (what, before, after, passed) in [
        (
            "behind the answer",
            &b""[..],
            &[&change[..], &evil].concat()[..],
            &change[..],
        ),
        ("with the first", &evil[..], b"", b""),
        (
            "behind early data",
            &[&early[..], &change, &evil].concat(),
            b"",
            &[&early[..], &change].concat(),
        ),
        (
            "none that can be read",
            b"",
            &record(HANDSHAKE, &[1, 0, 0, 1, 3]),
            b"",
        ),
    ] {
        let known = destination.taken().len();
        let mut tunnel = tunnel(&site);
        tunnel.send(&[&good[..], before].concat());
        assert_eq!(tunnel.read(43), server_hello(RETRY), "{what}");
        tunnel.send(after);
        assert!(tunnel.ends(), "{what}");
        let told = match what {
            "none that can be read" => "not_tls",
            _ => "sni_mismatch",
        };
        let line = site.told("api.example", "reason", told);
        assert_eq!(line["verdict"], "deny", "{what}: {line}");
        assert_eq!(line["ended"], told, "{what}: {line}");
        assert_eq!(line["bytesUp"], good.len() + passed.len(), "{what}: {line}");
        assert_eq!(
            destination.taken()[known..],
            [&good[..], passed].concat(),
            "{what}"
        );
    }
    // What is right goes on, and what comes behind it.
    for (before, after) in [
        (
            &b""[..],
            [&change[..], &good, b"and all behind it"].concat(),
        ),
        (&[&early[..], &good].concat(), evil.clone()),
    ] {
        let known = destination.taken().len();
        let mut tunnel = tunnel(&site);
        tunnel.send(&[&good[..], before].concat());
        assert_eq!(tunnel.read(43), server_hello(RETRY));
        tunnel.send(&after);
        let all = [&good[..], before, &after].concat();
        wait_for("all of it", || {
            destination.taken().len() == known + all.len()
        });
        assert_eq!(destination.taken()[known..], all);
        drop(tunnel);
        site.told("api.example", "reason", "allowed");
    }
}

#[test]
fn a_second_hello_that_may_hide_a_name_is_refused_where_a_first_one_is() {
    let good = client_hello(&Authority::new(), "api.example");
    let hiding = portcullis_tests::with_ech(good.clone());
    let destination = Destination::start(server_hello(RETRY));
    let site = site(destination.address, "encryptedClientHello: refuse, ");
    let mut tunnel = tunnel(&site);
    tunnel.send(&good);
    assert_eq!(tunnel.read(43), server_hello(RETRY));
    tunnel.send(&hiding);
    assert!(tunnel.ends());
    site.told("api.example", "reason", "encrypted_client_hello");
    assert_eq!(destination.taken(), good);
}

#[test]
fn a_second_hello_that_does_not_come_is_not_waited_for() {
    let good = client_hello(&Authority::new(), "api.example");
    let destination = Destination::start(server_hello(RETRY));
    let public = format!("{PUBLIC}:443");
    let dns = format!("api.example={PUBLIC}");
    let site = Site::start_with(
        "limits: {clientHelloTimeout: 500ms}",
        &allow("[api.example]"),
        &[&dns],
        &[(&public, destination.address)],
    );
    // The second of them has begun.
    for after in [&b""[..], &good[..99]] {
        let mut tunnel = tunnel(&site);
        tunnel.send(&good);
        assert_eq!(tunnel.read(43), server_hello(RETRY));
        tunnel.send(after);
        assert!(tunnel.ends());
        site.told("api.example", "ended", "client_hello_timeout");
    }
}

#[test]
fn a_handshake_that_goes_on_is_not_looked_at() {
    let authority = Authority::new();
    let good = client_hello(&authority, "api.example");
    let evil = client_hello(&authority, "evil.example");
    for answer in [server_hello(&"17".repeat(32)), b"no TLS at all".to_vec()] {
        let destination = Destination::start(answer.clone());
        let site = site(destination.address, "");
        let mut tunnel = tunnel(&site);
        // Whatever this is to such a server, it is no beginning.
        tunnel.send(&[&good[..], &evil].concat());
        assert_eq!(tunnel.read(answer.len()), answer);
        let all = [&good[..], &evil].concat();
        wait_for("all of it", || destination.taken() == all);
    }
}

#[test]
fn who_leaves_before_the_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let site = site(silent.local_addr().expect("an address"), "");
    let mut tunnel = tunnel(&site);
    tunnel.send(&client_hello(&Authority::new(), "api.example"));
    let (mut stream, _) = silent.accept().expect("a tunnel");
    drop(tunnel);
    // To its end.
    stream.read_to_end(&mut Vec::new()).expect("the hello");
    drop(stream);
    site.told("api.example", "reason", "allowed");
}

/// `openssl s_server`, which takes one group that clients have no key of ready.
struct OpenSsl(Child, SocketAddr);

impl OpenSsl {
    fn start(authority: &Authority, folder: &std::path::Path) -> Self {
        authority.write(folder, "server", &["api.example"]);
        let mut server = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-groups",
                "P-384",
                "-rev",
            ])
            .args(["-cert", "server.crt", "-key", "server.key"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix("ACCEPT ")?.trim().parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self(server, address.expect("it says where it listens"))
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_another_hello_is_reached() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = OpenSsl::start(&authority, folder.path());
    let site = site(server.1, "");
    let tunnel = tunnel(&site).into_stream();
    tunnel.set_nonblocking(true).expect("a socket");
    let tunnel = tokio::net::TcpStream::from_std(tunnel).expect("a socket");
    let connector = TlsConnector::from(authority.client(&[]));
    let name = "api.example".try_into().expect("a name");
    let mut stream = connector.connect(name, tunnel).await.expect("a handshake");
    let kind = stream.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::FullWithHelloRetryRequest));
    stream.write_all(b"stressed\n").await.expect("it is sent");
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"desserts\n");
}
