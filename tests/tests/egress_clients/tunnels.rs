//! What goes through a tunnel, and when it ends.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use portcullis_tests::{
    Backend, Echo, Nobody, Raw,
    egress_site::{PUBLIC, Site, allow, reason},
    status_of, wait_for,
};
use serde_json::json;
use socket2::SockRef;

const MIB: usize = 1 << 20;
const ENTRY: &str = "[{host: tcp.test, ports: [9001], raw: true}]";

/// A proxy before one target, with limits.
fn site(limits: &str, target: SocketAddr) -> Site {
    Site::start_with(
        limits,
        &allow(ENTRY),
        &[&format!("tcp.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:9001"), target)],
    )
}

/// Serves one connection, and sends what comes of it.
fn server<T: Send + 'static>(
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
fn open(site: &Site) -> TcpStream {
    let (tunnel, answer) = site.connect("tcp.test:9001");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.into_stream()
}

const PATIENCE: Duration = Duration::from_secs(15);

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

const IDLE: &str = "limits: {idleTimeout: 3s, headTimeout: 2s}";

#[tokio::test(flavor = "multi_thread")]
async fn egr_15_a_direction_that_is_silent_does_not_make_a_tunnel_idle() {
    let mut threads = Vec::new();
    // A download alone, an upload alone.
    let (down, _told) = server(|mut stream| {
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(500));
            stream.write_all(b"x").expect("it lives");
        }
    });
    let (up, uploaded) = server(|mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    threads.push(thread::spawn(move || {
        let site = site(IDLE, down);
        let mut bytes = Vec::new();
        open(&site).read_to_end(&mut bytes).expect("it lives");
        assert_eq!(bytes.len(), 20);
    }));
    threads.push(thread::spawn(move || {
        let site = site(IDLE, up);
        let mut tunnel = open(&site);
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(500));
            tunnel.write_all(b"x").expect("it lives");
        }
        drop(tunnel);
        let bytes = uploaded.recv_timeout(PATIENCE).expect("it is done");
        assert_eq!(bytes.expect("not reset"), 20);
    }));
    // A byte every two seconds.
    let echo = Echo::start("").await;
    let address = echo.address;
    threads.push(thread::spawn(move || {
        let site = site(IDLE, address);
        let mut tunnel = open(&site);
        for _ in 0..10 {
            thread::sleep(Duration::from_secs(2));
            tunnel.write_all(b"x").expect("it lives");
            tunnel.read_exact(&mut [0]).expect("it lives");
        }
    }));
    for thread in threads {
        thread.join().expect("a tunnel that lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_15_silence_of_both_ends_a_tunnel_and_a_slow_head_is_not_waited_for() {
    let echo = Echo::start("").await;
    let site = site(IDLE, echo.address);
    let mut tunnel = open(&site);
    tunnel.write_all(b"hello").expect("open");
    tunnel.read_exact(&mut [0; 5]).expect("open");
    let began = Instant::now();
    assert_eq!(tunnel.read(&mut [0]).expect("closed, and not reset"), 0);
    let silent = began.elapsed();
    assert!((2500..4500).contains(&silent.as_millis()), "{silent:?}");
    let line = site.audit("tcp.test");
    assert_eq!(line["ended"], "idle_timeout", "{line}");
    assert_eq!(
        (&line["bytesUp"], &line["bytesDown"]),
        (&json!(5), &json!(5))
    );

    let mut slow = Raw::connect(site.proxy()).into_stream();
    let began = Instant::now();
    let head = b"CONNECT tcp.test:9001 HTTP/1.1\r\nHost: tcp.test\r\n\r\n";
    let sent = head.iter().take_while(|byte| {
        thread::sleep(Duration::from_secs(1));
        slow.write_all(&[**byte]).is_ok()
    });
    let sent = sent.count();
    assert!(
        sent < 6,
        "{sent} bytes were waited for, {:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_15_sessions_are_silent_for_minutes_by_default_and_sockets_are_watched() {
    let echo = Echo::start("").await;
    let site = site("", echo.address);
    let (_, effective) = site.gateway.admin("/config");
    let idle = effective
        .lines()
        .rfind(|line| line.contains("idleTimeout:"));
    assert!(effective.contains("idleTimeout: 10m"), "{idle:?}");
    let tunnel = open(&site);
    // Both sockets of the proxy have a timer of TCP keep-alive: kind 2 (proc_net_tcp of Linux).
    let ports = [site.proxy().port(), echo.address.port()].map(|port| format!(":{port:04X} "));
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let local = |line: &str| {
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
            + " "
    };
    let remote = |line: &str| {
        line.split_ascii_whitespace()
            .nth(2)
            .unwrap_or_default()
            .to_owned()
            + " "
    };
    let watched = |line: &&str| {
        let mut fields = line.split_ascii_whitespace();
        let is_open = fields.nth(3) == Some("01");
        is_open && fields.nth(1).is_some_and(|timer| timer.starts_with("02:"))
    };
    let of_client = table
        .lines()
        .filter(|line| local(line).ends_with(&ports[0]));
    assert_eq!(of_client.filter(watched).count(), 1, "{table}");
    let of_target = table
        .lines()
        .filter(|line| remote(line).ends_with(&ports[1]));
    assert_eq!(of_target.filter(watched).count(), 1, "{table}");
    drop(tunnel);
}

/// Open descriptors of a process.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_15_ten_thousand_tunnels_that_break_off_leave_nothing_open() {
    let echo = Echo::start("").await;
    let site = site("", echo.address);
    drop(open(&site));
    wait_for("the first to end", || {
        site.gateway.metric("portcullis_egress_tunnels_open") == Some(0.0)
    });
    let before = descriptors(site.gateway.pid());
    let proxy = site.proxy();
    let clients = [(); 4].map(|()| {
        thread::spawn(move || {
            for round in 0..2500 {
                let mut stream = TcpStream::connect(proxy).expect("the proxy listens");
                // No end is waited for on either side, so that no port is kept for it.
                SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .expect("a socket");
                let head = b"CONNECT tcp.test:9001 HTTP/1.1\r\nHost: x\r\n\r\n";
                // Some break off within the head, some before the answer, some within the tunnel.
                let part = if round % 3 == 0 { 20 } else { head.len() };
                stream.write_all(&head[..part]).expect("open");
                if round % 3 == 2 {
                    stream.read_exact(&mut [0; 12]).expect("an answer");
                    stream.write_all(b"abc").expect("open");
                }
            }
        })
    });
    for client in clients {
        client.join().expect("a client");
    }
    wait_for("all to be closed", || {
        descriptors(site.gateway.pid()) <= before + 2
    });
    assert_eq!(
        site.gateway.metric("portcullis_egress_tunnels_open"),
        Some(0.0)
    );
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
