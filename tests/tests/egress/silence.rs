//! How long a plain request may be silent.

use std::{net::SocketAddr, time::Duration};

use portcullis_tests::{Raw, status_of};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::site::{PUBLIC, Site, allow};

/// Answers a request whose head has come: `/upload` when its body has, `/stall` with a part of
/// an answer, and nothing else.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut all, mut part) = (Vec::new(), [0; 1024]);
                while let Ok(length @ 1..) = stream.read(&mut part).await {
                    all.extend(&part[..length]);
                    let text = String::from_utf8_lossy(&all);
                    let answer: &[u8] = if text.starts_with("GET /stall") {
                        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart"
                    } else if text.ends_with("the end") {
                        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                    } else {
                        b""
                    };
                    stream.write_all(answer).await.expect("open");
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_goes_on_is_not_silent_and_what_stalls_is_cut() {
    let origin = origin().await;
    let site = Site::start_with(
        "limits: {idleTimeout: 1500ms}",
        &allow("[a.example]"),
        &[&format!("a.example={PUBLIC}")],
        &[(&format!("{PUBLIC}:80"), origin)],
    );
    let mut upload = Raw::connect(site.proxy());
    upload.send(
        b"POST http://a.example/upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 31\r\n\r\n",
    );
    for part in ["abcdefgh"; 3] {
        std::thread::sleep(Duration::from_millis(900));
        upload.send(part.as_bytes());
    }
    let answer = upload.send(b"the end").response();
    assert_eq!(status_of(&answer), 200, "{answer}");

    let silent = site.get("http://a.example/silent");
    assert_eq!(status_of(&silent), 504, "{silent}");
    assert!(silent.contains("upstream_timeout"), "{silent}");

    let stalled = Raw::connect(site.proxy())
        .send(b"GET http://a.example/stall HTTP/1.1\r\nHost: a.example\r\n\r\n")
        .read_all();
    assert!(stalled.ends_with("part"), "{stalled}");
    site.told("a.example", "ended", "idle_timeout");
}
