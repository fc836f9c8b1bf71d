//! Requests that meet a backend which fails.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::Response;
use portcullis_tests::{Gateway, raw, status_of};

/// What a backend over HTTP/2 in clear does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer,
    /// Reads it whole, and ends the connection with this error.
    GoAway(h2::Reason),
    /// Reads it whole, and resets the stream.
    Reset(h2::Reason),
    /// Resets the stream as one that was not looked at.
    Refuse,
}

struct Http2Backend {
    address: std::net::SocketAddr,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    streams: Arc<AtomicUsize>,
}

impl Http2Backend {
    async fn start(does: Does) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (bodies, streams) = <(Arc<Mutex<Vec<Bytes>>>, Arc<AtomicUsize>)>::default();
        let (seen, counted) = (Arc::clone(&bodies), Arc::clone(&streams));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, counted) = (Arc::clone(&seen), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        counted.fetch_add(1, Ordering::Relaxed);
                        if does == Does::Refuse {
                            respond.send_reset(h2::Reason::REFUSED_STREAM);
                            continue;
                        }
                        let mut body = request.into_body();
                        let mut whole = Vec::new();
                        // The connection moves while the body is read.
                        loop {
                            tokio::select! {
                                part = body.data() => match part {
                                    Some(Ok(part)) => whole.extend_from_slice(&part),
                                    _ => break,
                                },
                                _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return,
                            }
                        }
                        seen.lock().expect("no panic").push(whole.into());
                        match does {
                            Does::Answer => {
                                let _ = respond.send_response(Response::new(()), true);
                            }
                            Does::GoAway(reason) => connection.abrupt_shutdown(reason),
                            Does::Reset(reason) => respond.send_reset(reason),
                            Does::Refuse => unreachable!("answered above"),
                        }
                    }
                });
            }
        });
        Self {
            address,
            bodies,
            streams,
        }
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.bodies.lock().expect("no panic").clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_38_a_post_that_was_taken_is_not_sent_again() {
    for does in [
        Does::GoAway(h2::Reason::PROTOCOL_ERROR),
        Does::GoAway(h2::Reason::INTERNAL_ERROR),
        Does::Reset(h2::Reason::INTERNAL_ERROR),
        Does::Reset(h2::Reason::CANCEL),
        Does::Refuse,
    ] {
        let (bad, good) = (
            Http2Backend::start(does).await,
            Http2Backend::start(Does::Answer).await,
        );
        let gateway = Gateway::start(&format!(
            r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, protocol: http2, ejection: {{failures: 0}}, endpoints: [{{address: {}}}, {{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
            bad.address, good.address
        ));
        let mut statuses = Vec::new();
        for id in 0..4 {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 4\r\n\r\nid={id}"
            );
            statuses.push(status_of(&raw(gateway.http(), request.as_bytes())));
        }
        statuses.sort_unstable();
        let mut bodies = [bad.bodies(), good.bodies()].concat();
        bodies.sort_unstable();
        // Each once, whoever had it.
        assert_eq!(bodies, ["id=0", "id=1", "id=2", "id=3"], "{does:?}");
        if does == Does::Refuse {
            // Nobody looked at it: any request may go on to another endpoint.
            assert_eq!(statuses, [200, 200, 200, 200], "{does:?}");
            assert!(bad.streams.load(Ordering::Relaxed) >= 2, "{does:?}");
        } else {
            assert_eq!(statuses, [200, 200, 502, 502], "{does:?}");
        }
    }
}
