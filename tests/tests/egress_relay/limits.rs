//! Whom the relay serves, within which limits, and how it ends.

use std::time::{Duration, Instant};

use portcullis_tests::{Echo, Raw, Recorder, TokenIssuer, raw, status_of, wait_for};

use super::site::{Relay, Site, Volume, command, reason, token};

#[test]
fn what_would_open_it_to_others_or_to_itself_is_refused() {
    for (arguments, told) in [
        (
            &["--proxy", "http://proxy:3128", "--listen", "0.0.0.0:0"][..],
            "say --any-address",
        ),
        (
            &["--proxy", "http://proxy:3128", "--listen", "[::]:0"],
            "say --any-address",
        ),
        (
            &["--proxy", "http://proxy:3128", "--listen", "192.0.2.1:3128"],
            "say --any-address",
        ),
        (
            &["--proxy", "http://localhost:3128"],
            "where the relay itself listens",
        ),
        (
            &["--proxy", "http://user:pass@proxy:3128"],
            "without user, path and query",
        ),
        (&[], "--proxy"),
        (
            &["--proxy", "http://proxy:3128", "--proxy-ca", "ca.crt"],
            "did you mean https://?",
        ),
        (
            &["--proxy", "https://proxy:3128", "--proxy-ca", "/no/ca.crt"],
            "/no/ca.crt",
        ),
        (
            &["--proxy", "http://proxy:3128", "--head-timeout", "0s"],
            "--head-timeout must be more than 0",
        ),
    ] {
        let output = command(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    let output = command(&["--probe", "--listen", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1), "nobody listens there");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_bounded_in_number_size_and_time() {
    let silent = Recorder::start().await;
    let mut volume = Volume::new();
    volume.put("a.b.c");
    let limits = [
        "--max-connections",
        "3",
        "--max-head-size",
        "2KiB",
        "--head-timeout",
        "500ms",
        "--answer-timeout",
        "600ms",
    ];
    let relay = Relay::start(&format!("http://{}", silent.address), &volume, &limits);
    let large = format!(
        "CONNECT a.example:443 HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(3000)
    );
    let answer = raw(relay.address, large.as_bytes());
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (431, "head_too_large")
    );
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("half a head", b"CONNECT a.example:443 HT"),
        ("half a greeting", &[5, 1]),
    ] {
        let began = Instant::now();
        let mut client = Raw::connect(relay.address);
        client.send(bytes);
        assert!(client.ends(), "{what}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
    }
    // A proxy that says nothing.
    let (_, answer) = relay.connect("a.example:443");
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (504, "relay_answer_timeout")
    );
    // Three may wait; the fourth is closed at once.
    let patient = Relay::start(
        &format!("http://{}", silent.address),
        &volume,
        &["--max-connections", "3", "--head-timeout", "60s"],
    );
    let waiting: Vec<Raw> = (0..3).map(|_| Raw::connect(patient.address)).collect();
    assert!(Raw::connect(patient.address).ends());
    drop(waiting);
    wait_for("a place", || {
        status_of(&patient.connect("127.1:443").1) == 400
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_not_held() {
    use tokio::io::AsyncWriteExt;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let at = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = b"HTTP/1.1 403 Forbidden\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    sent = stream
                        .write_all(&b"x: yyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(100))
                        .await;
                }
            });
        }
    });
    let mut volume = Volume::new();
    volume.put("a.b.c");
    let relay = Relay::start(&format!("http://{at}"), &volume, &[]);
    let (_, answer) = relay.connect("a.example:443");
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (502, "relay_bad_answer"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_what_it_serves_and_no_more() {
    let echo = Echo::start("").await;
    let issuer = TokenIssuer::new("one");
    let site = Site::start("protocol: http", &issuer, &[(22, echo.address)]);
    let mut volume = Volume::new();
    volume.put(&token(&issuer, "builder"));
    let mut relay = Relay::start(&site.url(), &volume, &[]);
    let (mut tunnel, _) = relay.connect("raw.example:22");
    relay.terminate();
    wait_for("the drain", || relay.log().contains("draining"));
    tunnel.send(b"hello");
    assert_eq!(tunnel.read(5), b"hello");
    // What still runs beside it may have something to say at its end.
    let (mut late, answer) = relay.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200, "{answer}");
    drop(tunnel);
    late.send(b"bye");
    assert_eq!(late.read(3), b"bye");
    assert!(!relay.has_ended());
    drop(late);
    assert_eq!(relay.wait().code(), Some(0));

    let mut relay = Relay::start(&site.url(), &volume, &["--drain", "300ms"]);
    let (mut tunnel, _) = relay.connect("raw.example:22");
    relay.terminate();
    assert_eq!(relay.wait().code(), Some(3), "something was cut");
    assert!(tunnel.ends());

    let mut relay = Relay::start(&site.url(), &volume, &[]);
    let began = Instant::now();
    relay.terminate();
    assert_eq!(relay.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "nobody was there");
}
