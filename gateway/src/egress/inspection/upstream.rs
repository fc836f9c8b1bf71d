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
use tokio::{
    net::TcpStream,
    sync::{Mutex, watch},
};
use tokio_rustls::TlsConnector;

use super::{super::answer::Refusal, Protocol, bodies::AnyBody, tasks::Tasks};

/// Bytes of a stream that wait to be sent.
const MAX_SEND_BUFFER: usize = 64 << 10;

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
    socket: TcpStream,
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
            let (sender, connection) = http2::Builder::new(tasks.clone())
                .timer(TokioTimer::new())
                .max_send_buf_size(MAX_SEND_BUFFER)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(failed)?;
            tasks.spawn(drive(connection, gone));
            Upstream::Http2(sender)
        }
    };
    Ok((upstream, protocol))
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
