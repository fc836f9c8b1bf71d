//! Request bodies: what was sent arrives byte for byte, what is refused never does.

mod expect;
mod matrix;
mod site;

use std::time::Duration;

use http::Method;
use portcullis_tests::{Authority, Backend, Gateway, Raw, Recorder, status_of};
use site::{Cell, Framing, KIB_64, Site, Way, one, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_a_limit_is_refused_with_413() {
    let recorder = Recorder::start().await;
    for (policies, len) in [
        ("{maxBodySize: 64KiB}", KIB_64 + 1),
        ("{maxBodySize: 64KiB, waf: {profile: baseline}}", KIB_64 + 1),
        ("{waf: {profile: small}}", 100_001),
    ] {
        let site = Site::start(&one(recorder.address, "http1"), policies);
        for cell in Cell::all(&[len]) {
            let status = site.post(cell, &text(cell.len)).await;
            assert_eq!(status, 413, "{policies} {cell:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_itself_is_no_excess() {
    let backend = Backend::start("one").await;
    for policies in [
        "{maxBodySize: 64KiB}",
        "{maxBodySize: 64KiB, waf: {profile: baseline}}",
    ] {
        let site = Site::start(&one(backend.address, "http1"), policies);
        for cell in Cell::all(&[KIB_64]) {
            let status = site.post(cell, &text(cell.len)).await;
            assert_eq!(status, 200, "{policies} {cell:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_is_given_up() {
    let backend = Backend::start("one").await;
    for policies in ["{}", "{waf: {profile: baseline}}"] {
        let policies = policies
            .replace('{', "{timeouts: {clientRead: 300ms}, ")
            .replacen("{timeouts: {clientRead: 300ms}, profile", "{profile", 1);
        let site = Site::start(&one(backend.address, "http1"), &policies);
        let mut connection = Raw::connect(site.gateway.http());
        connection.send(b"POST / HTTP/1.1\r\nHost: any.example\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nstart");
        let answer = connection.response();
        assert_eq!(status_of(&answer), 408, "{policies}: {answer}");
        assert!(connection.ends());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_body_that_trickles_is_given_up() {
    let backend = Backend::start("one").await;
    let site = Site::start(
        &one(backend.address, "http1"),
        "{timeouts: {clientRead: 400ms}, waf: {profile: baseline}}",
    );
    let mut connection = Raw::connect(site.gateway.http());
    connection.send(b"POST / HTTP/1.1\r\nHost: any.example\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n");
    // More than enough at first, then a byte now and then.
    connection.send(&[b'a'; 50_000]);
    for _ in 0..12 {
        connection.send(b"a").pause(Duration::from_millis(100));
    }
    let answer = connection.response();
    assert_eq!(status_of(&answer), 408, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_loses_its_backend() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway");
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.expect("a request");
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        stream.write_all(head).await.expect("open");
        let block = vec![b'a'; 1 << 20];
        // Ends when the gateway closes.
        while stream.write_all(&block).await.is_ok() {}
    });
    let site = Site::start(&one(address, "http1"), "{timeouts: {clientWrite: 500ms}}");
    let mut client = Raw::connect(site.gateway.http());
    client.send(b"GET / HTTP/1.1\r\nHost: any.example\r\n\r\n");
    tokio::time::timeout(Duration::from_secs(20), backend)
        .await
        .expect("the backend is let go")
        .expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn spent_memory_for_bodies_refuses_and_comes_back() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let yaml = format!(
        r#"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
process: {{maxBufferedBytes: 400kB}}
# What a late rule reads stays until the end.
wafProfiles: [{{name: late, rules: [{{inline: 'SecRule REQUEST_BODY "@contains zzz" "id:1,phase:5,pass,nolog"'}}]}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, policies: {{waf: {{profile: late}}}}, rules: [{{backends: [{{name: one}}]}}]}}]
"#,
        backend.address
    );
    let site = Site {
        gateway: Gateway::start(&yaml),
        authority,
    };
    let mut holder = Raw::connect(site.gateway.http());
    holder.send(b"POST / HTTP/1.1\r\nHost: any.example\r\nContent-Type: text/plain\r\nContent-Length: 90000\r\n\r\n");
    holder
        .send(&[b'a'; 80_000])
        .pause(Duration::from_millis(300));
    let cell = Cell {
        way: Way::H1,
        framing: Framing::Length,
        len: 350_000,
    };
    assert_eq!(site.post(cell, &text(cell.len)).await, 503);
    holder.send(&[b'a'; 10_000]);
    assert_eq!(status_of(&holder.response()), 200);
    let cell = Cell {
        len: 100_000,
        ..cell
    };
    // What the rules have kept goes a moment after the answer.
    let mut status = 0;
    for _ in 0..50 {
        status = site.post(cell, &text(cell.len)).await;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 200);
    // It could be held, but the rules have a copy of it.
    let cell = Cell {
        len: 210_000,
        ..cell
    };
    assert_eq!(site.post(cell, &text(cell.len)).await, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_with_an_empty_frame_leaves_the_connection_to_the_backend_clean() {
    let backend = Backend::start("one").await;
    let site = Site::start(&one(backend.address, "http1"), "{}");
    for way in [Way::H2, Way::H2c] {
        let cell = Cell {
            way,
            framing: Framing::Streamed,
            len: 7,
        };
        let mut client = site.client(way).await;
        for _ in 0..5 {
            let status = site.send(Method::POST, cell, &mut client, &text(7)).await;
            assert_eq!(status, 200, "{cell:?}");
            // A backend that was sent more than one request would answer once more.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Each thread of the gateway may keep one.
    assert!(backend.connections() <= 2, "{}", backend.connections());
}
