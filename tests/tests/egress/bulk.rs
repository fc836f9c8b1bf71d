//! Much data through tunnels: it goes through pipes of the kernel, which are few and empty.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use portcullis_tests::{Gateway, sha256, status_of, wait_for};

use super::site::{PUBLIC, Site, allow, config};

const ENTRY: &str = "[{host: raw.example, ports: [22], raw: true}]";
const MUCH: usize = 16 << 20;

/// Bytes that differ wherever a piece could be lost, doubled or moved.
fn bytes(seed: usize) -> Vec<u8> {
    let word = |at: usize| ((at ^ seed) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..MUCH / 8)
        .flat_map(|at| word(at).to_le_bytes())
        .collect()
}

/// A target that sends what it has while it takes what comes, and then says the hash of that.
fn target(sends: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let (mut answer, sends) = (stream.try_clone().expect("a socket"), sends.clone());
            thread::spawn(move || {
                let sending = thread::spawn(move || {
                    let _ = answer.write_all(&sends);
                    answer
                });
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all);
                let mut answer = sending.join().expect("it sends");
                let _ = answer.write_all(sha256(&all).as_bytes());
                let _ = answer.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

fn site(process: &str, target: SocketAddr) -> Site {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let public = format!("{PUBLIC}:22");
    Site::start_in(
        folder,
        &with(process),
        &[&format!("raw.example={PUBLIC}")],
        &[(&public, target)],
    )
}

fn with(process: &str) -> String {
    format!("process: {process}\n{}", config("", &allow(ENTRY)))
}

/// Pipes that the process has open.
fn pipes(gateway: &Gateway) -> usize {
    let mut pipes: Vec<_> = fs::read_dir(format!("/proc/{}/fd", gateway.pid()))
        .expect("it runs")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|link| link.to_string_lossy().starts_with("pipe:"))
        .collect();
    pipes.sort();
    pipes.dedup();
    pipes.len()
}

fn open(site: &Site) -> TcpStream {
    let (tunnel, answer) = site.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.into_stream()
}

/// Sends and takes at once, half-closes, and compares all that came.
fn exchange(mut tunnel: TcpStream, up: &[u8], down: &[u8]) {
    let mut taking = tunnel.try_clone().expect("a socket");
    let taking = thread::spawn(move || {
        let mut all = Vec::new();
        taking.read_to_end(&mut all).expect("it ends");
        all
    });
    tunnel.write_all(up).expect("open");
    tunnel.shutdown(Shutdown::Write).expect("open");
    let taken = taking.join().expect("it takes");
    let (data, hash) = taken.split_at(taken.len() - 64);
    assert!(data == down, "{} bytes, or other ones", data.len());
    assert_eq!(String::from_utf8_lossy(hash), sha256(up));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_data_arrives_as_it_was_sent_with_pipes_and_without() {
    let (up, down) = (bytes(1), bytes(2));
    for (limit, more) in [(0, 0), (1, 1), (8, 8)] {
        let site = site(&format!("{{maxRelayPipes: {limit}}}"), target(down.clone()));
        let before = pipes(&site.gateway);
        let tunnels: Vec<TcpStream> = (0..6).map(|_| open(&site)).collect();
        thread::scope(|scope| {
            for tunnel in tunnels {
                scope.spawn(|| exchange(tunnel, &up, &down));
            }
        });
        let now = pipes(&site.gateway);
        assert!(now <= before + more, "{limit}: {before} {now}");
        assert_eq!(now > before, limit > 0, "{limit}: {before} {now}");
        let line = site.audit("raw.example");
        assert_eq!(line["bytesUp"], MUCH, "{line}");
        assert_eq!(line["bytesDown"], MUCH + 64, "{line}");
        assert_eq!(line["ended"], serde_json::Value::Null, "{line}");
        if limit > 0 {
            // Those that nobody uses are closed with the limit.
            site.gateway.reload(&with("{maxRelayPipes: 0}"));
            wait_for("no pipe", || pipes(&site.gateway) == before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_small_needs_no_pipe() {
    let site = site("{}", target(b"hello".to_vec()));
    let before = pipes(&site.gateway);
    let mut tunnels: Vec<TcpStream> = (0..20).map(|_| open(&site)).collect();
    // Less together than one read takes, however long the proxy has to wait for a processor.
    for _ in 0..20 {
        for tunnel in &mut tunnels {
            tunnel.write_all(&[1; 1000]).expect("open");
        }
        thread::sleep(Duration::from_millis(5));
    }
    for tunnel in &mut tunnels {
        tunnel.shutdown(Shutdown::Write).expect("open");
        let mut all = Vec::new();
        tunnel.read_to_end(&mut all).expect("it ends");
        assert_eq!(all.len(), 5 + 64);
    }
    assert_eq!(pipes(&site.gateway), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_up_nobody_and_leaves_nothing_to_others() {
    let (up, down) = (b"up".to_vec(), bytes(3));
    let site = site("{maxRelayPipes: 1}", target(down.clone()));
    let before = pipes(&site.gateway);
    let stuck = open(&site);
    wait_for("the one pipe", || pipes(&site.gateway) == before + 1);
    thread::sleep(Duration::from_millis(300));
    // Others go through memory meanwhile.
    exchange(open(&site), &up, &down);
    drop(stuck);
    // Its pipe is gone where bytes were left in it, and lent again where it was stuck in memory.
    for _ in 0..3 {
        exchange(open(&site), &up, &down);
    }
    assert_eq!(pipes(&site.gateway), before + 1);
}

#[test]
fn an_answer_that_comes_before_the_body_is_read_comes_whole() {
    // It answers by the head alone.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let sent = bytes(7);
    let (expected, answer) = (sha256(&sent), sent);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut head = [0; 16];
            let _ = stream.read(&mut head);
            let length = answer.len();
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.write_all(&answer);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let public = format!("{PUBLIC}:80");
    let dns = format!("api.example={PUBLIC}");
    let site = Site::start(&allow("[api.example]"), &[&dns], &[(&public, address)]);
    let mut client = TcpStream::connect(site.proxy()).expect("it listens");
    let head = "POST http://api.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    client.write_all(head.as_bytes()).expect("it is sent");
    client.write_all(&[b'x'; 1000]).expect("it is sent");
    // Whoever reads slowly has the last of it waiting in the proxy when the destination has sent it.
    thread::sleep(Duration::from_secs(2));
    let mut all = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match client.read(&mut piece).expect("it is sent") {
            0 => break,
            read => all.extend_from_slice(piece.get(..read).unwrap_or_default()),
        }
        if all.len() > MUCH - (2 << 20) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let body = all.windows(4).position(|four| four == b"\r\n\r\n");
    let body = all.split_off(body.expect("a head") + 4);
    assert_eq!((body.len(), sha256(&body)), (MUCH, expected));
}
