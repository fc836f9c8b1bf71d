//! Making connections, and keeping them for the next request.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pingora::{
    connectors::{ConnectorOptions, TransportConnector, http::Connector as HttpConnector},
    protocols::{ALPN, http::client::HttpSession},
    upstreams::peer::HttpPeer,
    utils::tls::{WrappedX509, parse_x509},
};
use portcullis_config::model::BackendProtocol;
use rustls_pki_types::CertificateDer;

use super::{
    Connection, Fault, FaultKind, h1, h2,
    pool::{self, Pool},
};
use crate::snapshot::CompiledBackend;

/// Idle HTTP/1 connections that are kept for each endpoint, and idle HTTP/2
/// connections for all together.
const MAX_IDLE: usize = 1024;

/// Streams that share one HTTP/2 connection to an endpoint.
///
/// pingora's default is 1, which opens a connection for each gRPC call.
const MAX_STREAMS: usize = 100;

/// Makes connections to endpoints and keeps those that may be used again.
pub(crate) struct Connector {
    transport: TransportConnector,
    pool: Arc<Pool>,
    http2: HttpConnector,
}

/// Whether a connection from the pool will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It will.
    Pooled,
    /// It must be a new one.
    Never,
}

/// An endpoint, and how to reach it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The backend.
    pub backend: &'a CompiledBackend,
    /// Its endpoint.
    pub endpoint: SocketAddr,
    /// Time to connect.
    pub connect: Duration,
}

impl Connector {
    /// Makes a connector without connections; to be called on a runtime.
    pub(crate) fn new() -> Self {
        let options = || Some(ConnectorOptions::new(MAX_IDLE));
        Self {
            transport: TransportConnector::new(options()),
            pool: Pool::new(MAX_IDLE),
            http2: HttpConnector::new(options()),
        }
    }

    /// Takes a connection from the pool, or makes one; tells whether it was used
    /// before. Streams of HTTP/2 share connections in any case.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) async fn open(
        &self,
        target: &Target<'_>,
        reuse: Reuse,
    ) -> Result<(Connection, bool), Fault> {
        match target.backend.backend.protocol {
            BackendProtocol::Http1 => {
                if reuse == Reuse::Pooled
                    && let Some(stream) = self.pool.take(target.key())
                {
                    return Ok((Connection::http1(stream), true));
                }
                // Boxed: the state of making a connection is large and rarely needed.
                let peer = target.peer();
                let stream = Box::pin(self.transport.new_stream(&peer))
                    .await
                    .map_err(|error| Fault::connecting(&error))?;
                Ok((Connection::http1(stream), false))
            }
            BackendProtocol::Http2 => {
                let peer = target.peer();
                let (session, reused) = Box::pin(self.http2.get_http_session(&peer))
                    .await
                    .map_err(|error| Fault::connecting(&error))?;
                match session {
                    HttpSession::H2(session) => Ok((
                        Connection::Http2(Box::new(h2::Connection::new(session))),
                        reused,
                    )),
                    _ => Err(Fault::new(
                        FaultKind::Malformed,
                        "the endpoint does not speak HTTP/2",
                    )),
                }
            }
        }
    }

    /// Makes a connection, its TLS included, and closes it.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) async fn connect(&self, target: &Target<'_>) -> Result<(), Fault> {
        let made = Box::pin(self.transport.new_stream(&target.peer())).await;
        made.map(drop).map_err(|error| Fault::connecting(&error))
    }

    /// Gives a connection back after its request: it is kept where it can be
    /// used again, and closed where it cannot.
    pub(crate) async fn release(&self, connection: Connection, target: &Target<'_>) {
        let keepalive = target.backend.backend.keepalive;
        match connection {
            Connection::Http1(connection) => {
                if let Some((stream, idle)) = connection.into_reusable() {
                    let keep = idle.map_or(keepalive, |idle| idle.min(keepalive));
                    if !keep.is_zero() {
                        self.pool.put(target.key(), stream, keep);
                    }
                }
            }
            Connection::Http2(connection) => {
                let session = HttpSession::H2(connection.into_session());
                let peer = target.peer();
                self.http2
                    .release_http_session(session, &peer, Some(keepalive))
                    .await;
            }
        }
    }
}

impl Connection {
    fn http1(stream: pingora::protocols::Stream) -> Self {
        Self::Http1(Box::new(h1::Connection::new(stream)))
    }
}

impl Target<'_> {
    fn key(&self) -> pool::Key {
        (self.backend.pool_key, self.endpoint)
    }

    /// Describes the connection to pingora: where, how, how long, and with which
    /// key of its own pool.
    fn peer(&self) -> HttpPeer {
        let backend = self.backend;
        let tls = backend.backend.tls.as_ref();
        let server_name = tls.map(|tls| tls.server_name.clone()).unwrap_or_default();
        let mut peer = HttpPeer::new(self.endpoint, tls.is_some(), server_name);
        peer.group_key = backend.pool_key;
        let options = &mut peer.options;
        options.connection_timeout = Some(self.connect);
        options.total_connection_timeout = Some(self.connect);
        match backend.backend.protocol {
            BackendProtocol::Http1 => options.alpn = ALPN::H1,
            BackendProtocol::Http2 => {
                options.alpn = ALPN::H2;
                options.max_h2_streams = MAX_STREAMS;
                options.h2_ping_interval = Some(Duration::from_secs(30));
            }
        }
        if let Some(authorities) = &backend.authorities {
            let derived = backend
                .connector
                .get_or_init(|| Arc::new(trust(authorities)));
            options.ca = derived.downcast_ref::<Arc<[WrappedX509]>>().cloned();
        }
        peer
    }
}

fn trust(authorities: &[CertificateDer<'static>]) -> Arc<[WrappedX509]> {
    authorities
        .iter()
        .map(|der| WrappedX509::new(der.to_vec(), parse_x509))
        .collect()
}
