//! What goes through a tunnel, and when it ends.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use portcullis_tests::{
    Backend, Nobody,
    egress_site::{PUBLIC, Site, allow, reason},
    status_of, wait_for,
};
use serde_json::json;
use socket2::SockRef;

const MIB: usize = 1 << 20;
const ENTRY: &str = "[{host: tcp.test, ports: [9001], raw: true}]";

/// A proxy before one target, with limits.
pub(super) fn site(limits: &str, target: SocketAddr) -> Site {
    Site::start_with(
        limits,
        &allow(ENTRY),
        &[&format!("tcp.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:9001"), target)],
    )
}

/// Serves one connection, and sends what comes of it.
pub(super) fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        // The test may have ended.
        let _ = tell.send(serve(stream));
    });
    (address, told)
}

/// Opens a tunnel, as a socket.
pub(super) fn open(site: &Site) -> TcpStream {
    let (tunnel, answer) = site.connect("tcp.test:9001");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.into_stream()
}

pub(super) const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn egr_14_a_client_that_has_said_all_is_still_answered() {
    let (address, told) = server(|mut stream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).expect("open");
        stream.write_all(&vec![7; MIB]).expect("open");
        question
    });
    let site = site("", address);
    let mut tunnel = open(&site);
    tunnel.write_all(b"req").expect("open");
    tunnel.shutdown(Shutdown::Write).expect("open");
    let mut answer = Vec::new();
    tunnel
        .read_to_end(&mut answer)
        .expect("closed, and not reset");
    assert_eq!(answer.len(), MIB);
    assert_eq!(told.recv_timeout(PATIENCE).expect("it is done"), b"req");
    drop(tunnel);
    let line = site.audit("tcp.test");
    assert_eq!(
        (&line["bytesUp"], &line["bytesDown"]),
        (&json!(3), &json!(MIB))
    );
    assert_eq!(line.get("ended"), None, "both sides have closed: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_14_a_server_that_has_said_all_is_still_spoken_to() {
    let (address, told) = server(|mut stream| {
        stream.write_all(&vec![7; MIB]).expect("open");
        stream.shutdown(Shutdown::Write).expect("open");
        let mut later = Vec::new();
        stream
            .read_to_end(&mut later)
            .expect("closed, and not reset");
        later
    });
    let site = site("", address);
    let mut tunnel = open(&site);
    let mut bytes = Vec::new();
    tunnel
        .read_to_end(&mut bytes)
        .expect("the end of one direction");
    assert_eq!(bytes.len(), MIB);
    for _ in 0..6 {
        thread::sleep(Duration::from_millis(500));
        tunnel
            .write_all(b"late")
            .expect("the other direction is open");
    }
    assert!(
        told.try_recv().is_err(),
        "it goes on until the client has closed too"
    );
    tunnel.shutdown(Shutdown::Write).expect("open");
    assert_eq!(
        told.recv_timeout(PATIENCE).expect("it is done"),
        b"late".repeat(6)
    );
    assert_eq!(site.audit("tcp.test")["bytesUp"], 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_14_a_reset_of_one_side_ends_the_other() {
    // Of the client.
    let (address, told) = server(|mut stream| {
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        (bytes, ended.is_err())
    });
    let of_client = site("", address);
    let mut tunnel = open(&of_client);
    tunnel.write_all(b"x").expect("open");
    thread::sleep(Duration::from_millis(200));
    SockRef::from(&tunnel)
        .set_linger(Some(Duration::ZERO))
        .expect("a socket");
    drop(tunnel);
    let (bytes, _) = told
        .recv_timeout(PATIENCE)
        .expect("the server sees the end");
    assert_eq!(bytes, b"x");
    // Of the server.
    let (address, told) = server(|mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("open");
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket");
    });
    let of_server = site("", address);
    let mut tunnel = open(&of_server);
    tunnel.set_read_timeout(Some(PATIENCE)).expect("a time");
    tunnel.write_all(b"x").expect("open");
    told.recv_timeout(PATIENCE).expect("it is done");
    let began = Instant::now();
    let ended = tunnel.read(&mut [0; 16]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{ended:?}");
    drop(tunnel);
    for site in [of_client, of_server] {
        wait_for("the place to be free", || {
            site.gateway.metric("portcullis_egress_tunnels_open") == Some(0.0)
        });
    }
}

/// Runs curl through a proxy: what it prints, and what it complains of.
fn curl(proxy: SocketAddr, more: &[&str], url: &str) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "10", "-x"])
        .arg(format!("http://{proxy}"))
        .args(more)
        .arg(url)
        .output()
        .expect("curl runs");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Ports are those of each entry: nothing is special about 443, and on port 80 nobody has to speak
/// TLS. The clients that do so are with the real clients.
#[tokio::test(flavor = "multi_thread")]
async fn egr_18_plain_http_goes_through_a_tunnel_where_the_entry_has_its_port() {
    let backend = Backend::start("one").await;
    let nobody = Nobody::here();
    let site = Site::start(
        &allow("[{host: svc.test, ports: [80]}, {host: api.test, ports: [443]}]"),
        &[&format!("svc.test={PUBLIC}"), &format!("api.test={PUBLIC}")],
        &[
            (&format!("{PUBLIC}:80"), backend.address),
            (&format!("{PUBLIC}:443"), nobody.address),
        ],
    );
    let printed = curl(site.proxy(), &["-p"], "http://svc.test/x");
    assert_eq!(printed, "one /x");
    let (mut tunnel, answer) = site.connect("svc.test:80");
    assert_eq!(status_of(&answer), 200, "{answer}");
    // Two requests, as a client that keeps its connection.
    for path in ["/a", "/b"] {
        tunnel.send(format!("GET {path} HTTP/1.1\r\nHost: svc.test\r\n\r\n").as_bytes());
        let answer = tunnel.response();
        assert!(answer.ends_with(&format!("one {path}")), "{answer}");
    }
    for target in ["api.test:80", "svc.test:443", "svc.test:8080"] {
        let (_, answer) = site.connect(target);
        let got = (status_of(&answer), reason(&answer));
        assert_eq!(got, (403, "egress/port_not_allowed"), "{target}: {answer}");
    }
    let told = curl(site.proxy(), &["-p"], "http://api.test/");
    assert!(told.contains("403"), "{told}");
}
