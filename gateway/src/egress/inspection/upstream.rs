//! The connection to a destination, which must show a certificate for its name.

use std::{io, sync::Arc};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_config::{
    egress::{Authority, Host},
    model::EgressLimits,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::{Mutex, watch};
use tokio_rustls::TlsConnector;

use super::{
    super::{answer::Refusal, upstream_proxy::UpstreamStream},
    Protocol,
    bodies::AnyBody,
    http2::{CONNECTION_WINDOW, MAX_SEND_BUFFER, STREAM_WINDOW},
    tasks::Tasks,
    unsent::Unsent,
};

/// What sends requests to a destination.
pub(super) enum Upstream {
    /// One at a time.
    Http1(Mutex<http1::SendRequest<AnyBody>>),
    /// Many at once.
    Http2(http2::SendRequest<AnyBody>),
    /// It was not reached as it must be; each request is told so.
    Failed(Refusal),
}

/// Speaks TLS to a destination, and of the protocols that are offered the one that it takes.
///
/// `gone` is told when its connection is over.
///
/// # Errors
/// 502 where its certificate is not good for its name, or it does not speak TLS; 504 where it takes
/// too long.
pub(super) async fn connect(
    socket: UpstreamStream,
    authority: &Authority,
    config: &Arc<ClientConfig>,
    offered: &[Protocol],
    (limits, tasks): (&EgressLimits, &Tasks),
    gone: watch::Sender<bool>,
) -> Result<(Upstream, Protocol), Refusal> {
    let name = match &authority.host {
        Host::Name(name) => ServerName::try_from(name.clone()),
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
    };
    let name = name.map_err(|_| Refusal::new(502, "upstream_untrusted"))?;
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = offered
        .iter()
        .map(|wanted| wanted.alpn().to_vec())
        .collect();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
    let stream = match tokio::time::timeout(limits.handshake_timeout, connecting).await {
        Err(_) => return Err(Refusal::new(504, "upstream_timeout")),
        Ok(Err(error)) => {
            tracing::debug!(host = %authority.host, %error, "TLS of a destination failed");
            return Err(Refusal::new(502, reason(&error)));
        }
        Ok(Ok(stream)) => stream,
    };
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(taken) if taken == Protocol::Http2.alpn() => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let failed = |_| Refusal::new(502, "upstream_failed");
    let upstream = match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(failed)?;
            tasks.spawn(drive(connection, gone));
            Upstream::Http1(Mutex::new(sender))
        }
        Protocol::Http2 => {
            let (sender, connection) = over_http2(tasks, limits.max_head_size)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(failed)?;
            tasks.spawn(drive(connection, gone));
            Upstream::Http2(sender)
        }
    };
    Ok((upstream, protocol))
}

/// HTTP/2 to a destination, which sends no more ahead than a client may: hyper's own windows, 2 MiB
/// for a stream and 5 MiB for a connection, would be held for each client that reads slowly. Heads
/// have as many bytes as those of a client.
fn over_http2(tasks: &Tasks, max_head_size: u64) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(max_head_size).unwrap_or(u32::MAX))
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

impl Upstream {
    /// Sends a request, once those before it have been answered where one is sent at a time, and
    /// there is room among those that the destination has not taken.
    ///
    /// # Errors
    /// A destination that was never reached as it must be.
    pub(super) fn send(
        &self,
        request: Request<AnyBody>,
        unsent: &Unsent,
    ) -> Result<impl Future<Output = hyper::Result<Response<Incoming>>>, Refusal> {
        if let Self::Failed(refusal) = self {
            return Err(refusal.clone());
        }
        Ok(async move {
            match self {
                Self::Http1(sender) => {
                    let mut sender = sender.lock().await;
                    let request = unsent.add(request).await;
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    // hyper takes as many as come, whatever the destination takes.
                    let request = unsent.add(request).await;
                    let mut sender = sender.clone();
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                // It was returned above.
                Self::Failed(_) => std::future::pending().await,
            }
        })
    }
}

/// Moves the bytes of a connection, and tells its end.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, gone: watch::Sender<bool>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a destination broke off");
    }
    gone.send_replace(true);
}

/// Why a handshake failed.
fn reason(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => "upstream_untrusted",
        _ => "upstream_tls_failed",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::{super::tasks::Ending, *};

    /// Bytes that are known for as long as they are there.
    struct Known {
        _there: Arc<()>,
    }

    impl AsRef<[u8]> for Known {
        fn as_ref(&self) -> &[u8] {
            b"some"
        }
    }

    async fn upstream(ours: DuplexStream, tasks: &Tasks) -> Upstream {
        let made = over_http2(tasks, 32 << 10)
            .handshake(TokioIo::new(ours))
            .await;
        let (sender, connection) = made.expect("it is there");
        tasks.spawn(drive(connection, watch::channel(false).0));
        Upstream::Http2(sender)
    }

    #[tokio::test]
    async fn a_destination_that_opens_no_stream_has_no_more_waiting_than_there_is_room_for() {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let mut serving = h2::server::Builder::new();
        serving.max_concurrent_streams(0);
        let handshake = serving.handshake::<_, Bytes>(theirs);
        let _serving = tokio::spawn(async move {
            let mut connection = handshake.await.expect("a preface");
            let mut kept = Vec::new();
            while let Some(Ok(request)) = connection.accept().await {
                kept.push(request);
            }
        });
        let tasks = Ending(Tasks::default());
        let upstream = upstream(ours, &tasks.0).await;
        // Its settings come.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let (known, unsent) = (Arc::new(()), Unsent::new(4));
        for _ in 0..200 {
            let body = Full::new(Bytes::from_owner(Known {
                _there: Arc::clone(&known),
            }));
            let body = body.map_err(|never| match never {}).boxed_unsync();
            let request = Request::post("https://a.test/").body(body).expect("good");
            let sent = upstream.send(request, &unsent).expect("it is reached");
            // A client that asks, and resets a little later.
            let mut sent = Box::pin(sent);
            for _ in 0..10 {
                assert!(sent.as_mut().now_or_never().is_none());
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(Arc::strong_count(&known) - 1, 4);
        drop((upstream, tasks));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            Arc::strong_count(&known),
            1,
            "all is given back with the tunnel"
        );
    }

    #[tokio::test]
    async fn a_destination_sends_no_more_ahead_than_a_client() {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let tasks = Ending(Tasks::default());
        let made = over_http2(&tasks.0, 32 << 10)
            .handshake(TokioIo::new(ours))
            .await;
        let (_sender, connection): (http2::SendRequest<AnyBody>, _) = made.expect("it is there");
        tasks.0.spawn(async {
            let _ = connection.await;
        });
        // The preface and the head of the first frame (RFC 9113 sections 3.4 and 4.1).
        let mut first = [0; 24 + 9];
        theirs.read_exact(&mut first).await.expect("a preface");
        assert!(first.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        let mut settings = vec![0; usize::from(first[26])];
        theirs.read_exact(&mut settings).await.expect("settings");
        let mut settings = settings.as_chunks::<6>().0.iter();
        // SETTINGS_INITIAL_WINDOW_SIZE (section 6.5.2).
        let window = settings.find_map(|[high, low, value @ ..]| {
            ([*high, *low] == [0, 4]).then(|| u32::from_be_bytes(*value))
        });
        assert_eq!(window, Some(STREAM_WINDOW));
    }
}
