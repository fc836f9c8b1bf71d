//! Request bodies: what was sent arrives byte for byte, what is refused never does.
//!
//! The sizes lie around 64 KiB, where the way a body is held changes.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use portcullis_tests::{
    Authority, Backend, Client, Gateway, Raw, Recorder, h2c, sha256, status_of,
};

const KIB_64: usize = 64 << 10;

/// Ways a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    /// Chunked over HTTP/1; DATA frames without a length over HTTP/2.
    Streamed,
}

/// Ways to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    H1,
    H1Tls,
    H2,
    H2c,
}

fn body(bytes: &Bytes, framing: Framing) -> UnsyncBoxBody<Bytes, std::convert::Infallible> {
    match framing {
        Framing::Length => Full::new(bytes.clone()).boxed_unsync(),
        Framing::Streamed => {
            let parts: Vec<_> = bytes
                .chunks(10_000)
                .map(|part| Ok(Frame::data(Bytes::copy_from_slice(part))))
                .collect();
            BodyExt::boxed_unsync(StreamBody::new(futures_util::stream::iter(parts)))
        }
    }
}

fn text(len: usize) -> Bytes {
    // A field with a value of words that no rule objects to, and no two places alike.
    let mut text = String::from("field=");
    let mut n = 0;
    while text.len() < len {
        text.push_str(&format!("word{n}+"));
        n += 1;
    }
    text.truncate(len);
    text.into()
}

struct Site {
    gateway: Gateway,
    authority: Authority,
}

impl Site {
    fn start(backends: &str, policies: &str) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a temporary folder");
        authority.write(folder.path(), "any", &["any.example"]);
        let yaml = format!(
            r"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: https, protocol: https, address: '127.0.0.1:0'}}
certificates: [{{name: any, certificate: any.crt, key: any.key}}]
wafProfiles: [{{name: baseline, bodyLimit: 2MiB}}, {{name: prefix, bodyLimit: 100kB, overLimit: inspect-prefix}}, {{name: skip, bodyLimit: 100kB, overLimit: skip}}, {{name: small, bodyLimit: 100kB}}]
backends:
{backends}
routes:
- name: any
  hosts: [any.example]
  policies: {policies}
  rules: [{{backends: [{{name: one}}]}}]
"
        );
        Self {
            gateway: Gateway::start_in(folder, &yaml, &[]),
            authority,
        }
    }

    async fn client(&self, way: Way) -> Client {
        match way {
            Way::H1 => Client::h1(self.gateway.http()).await,
            Way::H2c => h2c(self.gateway.http()).await,
            Way::H1Tls | Way::H2 => Client::tls(
                self.gateway.https(),
                &self.authority,
                "any.example",
                way == Way::H2,
            )
            .await
            .expect("a connection"),
        }
    }

    async fn post(
        &self,
        (way, client): (Way, &mut Client),
        bytes: &Bytes,
        framing: Framing,
    ) -> u16 {
        let uri = client.uri("any.example", "/upload");
        let request = Request::post(uri)
            .header("host", "any.example")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body(bytes, framing))
            .expect("a request");
        match client.send(request).await {
            Ok(response) => {
                // A long chunked body that was held costs the HTTP/1 connection.
                if response
                    .headers()
                    .get("connection")
                    .is_some_and(|v| v == "close")
                {
                    *client = self.client(way).await;
                }
                response.status().as_u16()
            }
            Err(error) => {
                eprintln!("no answer: {error:?}");
                0
            }
        }
    }
}

fn one(address: std::net::SocketAddr, protocol: &str) -> String {
    format!("- {{name: one, protocol: {protocol}, endpoints: [{{address: {address}}}]}}")
}

const WAYS: [Way; 4] = [Way::H1, Way::H1Tls, Way::H2, Way::H2c];
const FRAMINGS: [Framing; 2] = [Framing::Length, Framing::Streamed];

async fn every_body_arrives(policies: &str, protocol: &str) {
    let backend = Backend::start("one").await;
    let site = Site::start(&one(backend.address, protocol), policies);
    for way in WAYS {
        let mut client = site.client(way).await;
        for framing in FRAMINGS {
            for len in [0, 7, KIB_64 - 1, KIB_64, KIB_64 + 1, 200_000, 1 << 20] {
                let what = format!("{policies} {protocol} {way:?} {framing:?} {len}");
                let bytes = text(len);
                let before = backend.requests();
                assert_eq!(
                    site.post((way, &mut client), &bytes, framing).await,
                    200,
                    "{what}"
                );
                assert_eq!(backend.requests(), before + 1, "{what}");
                let seen = backend.last();
                assert_eq!(
                    (seen.body_len, seen.body_sha256.as_str()),
                    (bytes.len(), sha256(&bytes).as_str()),
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspected_body_arrives_whole() {
    every_body_arrives("{waf: {profile: baseline}}", "http1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspected_body_arrives_whole_over_http2() {
    every_body_arrives("{waf: {profile: baseline}}", "http2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_inspects_is_streamed_whole() {
    every_body_arrives("{}", "http1").await;
    every_body_arrives("{}", "http2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_inspection_limit_arrives_whole_where_the_profile_lets_it() {
    for profile in ["prefix", "skip"] {
        let policies = format!("{{waf: {{profile: {profile}}}}}");
        every_body_arrives(&policies, "http1").await;
        every_body_arrives(&policies, "http2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_body_leaves_the_backend_untouched() {
    let recorder = Recorder::start().await;
    let site = Site::start(
        &one(recorder.address, "http1"),
        "{waf: {profile: baseline}}",
    );
    for len in [200, KIB_64 + 1, 300_000] {
        // The attack is at the end: all that comes before has been read by then.
        let mut bytes = text(len - 40).to_vec();
        bytes.extend_from_slice(b"&q=1'+UNION+SELECT+password+FROM+users--");
        assert_eq!(bytes.len(), len);
        let bytes = Bytes::from(bytes);
        for way in WAYS {
            for framing in FRAMINGS {
                let mut client = site.client(way).await;
                assert_eq!(
                    site.post((way, &mut client), &bytes, framing).await,
                    403,
                    "{way:?} {framing:?} {len}"
                );
            }
        }
    }
    assert_eq!((recorder.connections(), recorder.bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_a_limit_is_refused_with_413() {
    let recorder = Recorder::start().await;
    for (policies, len) in [
        ("{maxBodySize: 64KiB}", KIB_64 + 1),
        ("{maxBodySize: 64KiB, waf: {profile: baseline}}", KIB_64 + 1),
        ("{waf: {profile: small}}", 100_001),
    ] {
        let site = Site::start(&one(recorder.address, "http1"), policies);
        for way in WAYS {
            for framing in FRAMINGS {
                let mut client = site.client(way).await;
                assert_eq!(
                    site.post((way, &mut client), &text(len), framing).await,
                    413,
                    "{policies} {way:?} {framing:?}"
                );
            }
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
        for way in WAYS {
            for framing in FRAMINGS {
                let mut client = site.client(way).await;
                assert_eq!(
                    site.post((way, &mut client), &text(KIB_64), framing).await,
                    200,
                    "{policies} {way:?} {framing:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspected_body_survives_an_endpoint_that_is_down() {
    let backend = Backend::start("one").await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let backends = format!(
        "- {{name: one, endpoints: [{{address: {closed}}}, {{address: {}}}]}}",
        backend.address
    );
    let site = Site::start(&backends, "{waf: {profile: baseline}}");
    for way in WAYS {
        for framing in FRAMINGS {
            for len in [7, KIB_64 + 1, 200_000] {
                for _ in 0..2 {
                    let mut client = site.client(way).await;
                    let bytes = text(len);
                    let what = format!("{way:?} {framing:?} {len}");
                    assert_eq!(
                        site.post((way, &mut client), &bytes, framing).await,
                        200,
                        "{what}"
                    );
                    assert_eq!(backend.last().body_sha256, sha256(&bytes), "{what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_gets_it() {
    for policies in ["{}", "{waf: {profile: baseline}}"] {
        let backend = Backend::start("one").await;
        let site = Site::start(&one(backend.address, "http1"), policies);
        let mut connection = Raw::connect(site.gateway.http());
        connection.send(
            b"POST /upload HTTP/1.1\r\nHost: any.example\r\nContent-Length: 7\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n\r\n",
        );
        let first = connection.response();
        assert_eq!(status_of(&first), 100, "{policies}: {first}");
        connection.send(b"a=b&c=d");
        let answer = connection.response();
        assert_eq!(status_of(&answer), 200, "{policies}: {answer}");
        assert_eq!(backend.last().body_sha256, sha256(b"a=b&c=d"));
        // The next request of the connection is seen as one.
        connection.send(b"GET /next HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
        assert_eq!(status_of(&connection.response()), 200, "{policies}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_does_not_ask_for_the_body_first() {
    let recorder = Recorder::start().await;
    let site = Site::start(
        &one(recorder.address, "http1"),
        "{maxBodySize: 1KiB, waf: {profile: baseline}}",
    );
    for head in [
        "POST / HTTP/1.1\r\nHost: any.example\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: unknown.example\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let answer = Raw::connect(site.gateway.http())
            .send(head.as_bytes())
            .response();
        assert!([413, 404].contains(&status_of(&answer)), "{head}: {answer}");
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
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
process: {{maxBufferedBytes: 100kB}}
wafProfiles: [{{name: baseline}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, policies: {{waf: {{profile: baseline}}}}, rules: [{{backends: [{{name: one}}]}}]}}]
",
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
    let way = Way::H1;
    let mut client = site.client(way).await;
    let refused = site
        .post((way, &mut client), &text(30_000), Framing::Length)
        .await;
    assert_eq!(refused, 503);
    holder.send(&[b'a'; 10_000]);
    assert_eq!(status_of(&holder.response()), 200);
    let mut client = site.client(way).await;
    assert_eq!(
        site.post((way, &mut client), &text(30_000), Framing::Length)
            .await,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_with_an_empty_frame_leaves_the_connection_to_the_backend_clean() {
    let backend = Backend::start("one").await;
    let site = Site::start(&one(backend.address, "http1"), "{}");
    for way in [Way::H2, Way::H2c] {
        let mut client = site.client(way).await;
        for _ in 0..5 {
            assert_eq!(
                site.post((way, &mut client), &text(7), Framing::Streamed)
                    .await,
                200
            );
            // A backend that was sent more than one request would answer once more.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Each thread of the gateway may keep one.
    assert!(backend.connections() <= 2, "{}", backend.connections());
}
