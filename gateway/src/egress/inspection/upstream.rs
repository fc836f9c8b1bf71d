//! The connection to a destination, which must show a certificate for its name.

use std::{io, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_config::egress::{Authority, Host};
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
    (limit, tasks): (Duration, &Tasks),
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
    let stream = match tokio::time::timeout(limit, connecting).await {
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
            let (sender, connection) = over_http2(tasks)
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
/// for a stream and 5 MiB for a connection, would be held for each client that reads slowly.
fn over_http2(tasks: &Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

impl Upstream {
    /// Sends a request, once those before it have been answered where one is sent at a time.
    ///
    /// # Errors
    /// A destination that was never reached as it must be.
    pub(super) fn send(
        &self,
        request: Request<AnyBody>,
    ) -> Result<impl Future<Output = hyper::Result<Response<Incoming>>>, Refusal> {
        if let Self::Failed(refusal) = self {
            return Err(refusal.clone());
        }
        Ok(async move {
            match self {
                Self::Http1(sender) => {
                    let mut sender = sender.lock().await;
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
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
    use tokio::io::AsyncReadExt;

    use super::{super::tasks::Ending, *};

    #[tokio::test]
    async fn a_destination_sends_no_more_ahead_than_a_client() {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let tasks = Ending(Tasks::default());
        let made = over_http2(&tasks.0).handshake(TokioIo::new(ours)).await;
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
