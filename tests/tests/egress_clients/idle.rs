//! Silence: how long a tunnel may live with it, and what is left of those that break off.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use portcullis_tests::{Echo, Raw, wait_for};
use serde_json::json;
use socket2::SockRef;

use super::tunnels::{PATIENCE, open, server, site};

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
    wait_for("all to be told", || {
        site.gateway.metric("portcullis_egress_tunnels_open") == Some(0.0)
    });
}
