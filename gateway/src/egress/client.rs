//! The stream of a client: in clear, or over TLS.

use std::{io, net::SocketAddr, sync::Arc};

use portcullis_config::model::EgressListener;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{
    peer::Peer,
    servers::{EgressServices, State},
    upstream_proxy::UpstreamStream,
};
use crate::{
    listen::{Hello, refused_for, tune, within},
    relay::{RelayLimits, Traffic, relay, relay_streams},
};

/// What bytes go both ways through, whatever it is.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A client: a socket, or TLS or a stream of HTTP/2. What is written to it is not sent before it is
/// flushed: TLS may hold it.
pub(super) type ClientStream = Either<TcpStream, Box<dyn Duplex>>;

/// A client that has connected.
pub(super) struct Connected {
    pub(super) stream: ClientStream,
    /// What its handshake says of it.
    pub(super) peer: Peer,
    /// Whether it speaks HTTP/2.
    pub(super) http2: bool,
}

/// Makes a stream of a socket, with a handshake where the listener speaks TLS, and tells who is at
/// its end. `None` where that fails, which is counted.
pub(super) async fn connect(
    socket: TcpStream,
    address: SocketAddr,
    listener: &Arc<EgressListener>,
    services: &EgressServices,
    state: &State,
) -> Option<Connected> {
    if listener.tls.is_none() {
        // A small record inside a tunnel must not wait for the next one, and a client that is gone
        // without a word must not keep its place. A socket that takes no option is gone, as whoever
        // reads it finds out.
        let _ = tune(&socket);
        let generation = services.tls.generation();
        let peer = Peer::new(Arc::clone(listener), Vec::new(), generation).ok()?;
        return Some(Connected {
            stream: Either::Left(socket),
            peer,
            http2: false,
        });
    }
    let limit = state.egress()?.limits.handshake_timeout;
    let shaken = within(limit, shake_hands(socket, listener, services)).await;
    match shaken {
        Ok((tls, peer)) => Some(Connected {
            http2: tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            stream: Either::Right(Box::new(tls)),
            peer,
        }),
        Err(error) => {
            let outcome = match refused_for(&error) {
                Some(reason) => {
                    services.metrics.refusal("tls", reason);
                    "client_certificate_refused"
                }
                None => "handshake_failed",
            };
            services.metrics.connection("egress", outcome);
            tracing::debug!(client = %address, outcome, %error, "egress client closed");
            None
        }
    }
}

async fn shake_hands(
    socket: TcpStream,
    listener: &Arc<EgressListener>,
    services: &EgressServices,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    tune(&socket)?;
    let hello = Hello::read(socket).await?;
    let (terms, generation) = {
        let table = services.tls.table();
        let terms = table.egress(&listener.name).map(Arc::clone);
        // A configuration came between: a new connection goes by it.
        let terms = terms.ok_or_else(|| io::Error::other("the listener has no TLS any more"))?;
        (terms, table.generation)
    };
    let (tls, certificate) = hello.answer(&services.tls, &terms).await?;
    let chain = certificate.map_or_else(Vec::new, |certificate| certificate.chain);
    let peer = Peer::new(Arc::clone(listener), chain, generation).map_err(|reason| {
        tracing::debug!(%reason, "client certificate refused");
        io::Error::other(rustls::Error::InvalidCertificate(
            rustls::CertificateError::BadEncoding,
        ))
    })?;
    Ok((tls, peer))
}

/// Relays both ways; sockets alone go the shorter way.
pub(super) async fn relay_client(
    client: &mut ClientStream,
    upstream: &mut UpstreamStream,
    limits: RelayLimits,
    traffic: &Traffic,
    cut: impl FnMut() -> Option<&'static str>,
) -> Option<&'static str> {
    match (client, upstream) {
        (Either::Left(client), Either::Left(upstream)) => {
            relay(client, upstream, limits, traffic, cut).await
        }
        (client, upstream) => relay_streams(client, upstream, limits, traffic, cut).await,
    }
}
