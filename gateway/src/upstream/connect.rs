//! Making connections, and keeping them for the next request.

use std::{sync::Arc, time::Duration};

use pingora::{
    connectors::{ConnectorOptions, TransportConnector, http::Connector as HttpConnector},
    protocols::{ALPN, http::client::HttpSession},
    upstreams::peer::{HttpPeer, Peer},
    utils::tls::{WrappedX509, parse_x509},
};
use portcullis_config::model::{BackendProtocol, Endpoint, Timeouts};
use rustls_pki_types::CertificateDer;

use super::{Connection, Fault, FaultKind, h1, h2};
use crate::snapshot::CompiledBackend;

/// Idle connections that are kept for all endpoints together.
const POOL: usize = 1024;

/// Streams that share one HTTP/2 connection to an endpoint.
///
/// pingora's default is 1, which opens a connection for each gRPC call.
const MAX_STREAMS: usize = 100;

/// Makes connections to endpoints and keeps those that may be used again.
pub(crate) struct Connector {
    http1: TransportConnector,
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
pub(crate) struct Target {
    peer: HttpPeer,
    protocol: BackendProtocol,
    keepalive: Duration,
}

impl Connector {
    /// Makes a connector without connections.
    pub(crate) fn new() -> Self {
        let options = || Some(ConnectorOptions::new(POOL));
        Self {
            http1: TransportConnector::new(options()),
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
        target: &Target,
        reuse: Reuse,
    ) -> Result<(Connection, bool), Fault> {
        match target.protocol {
            BackendProtocol::Http1 => {
                if reuse == Reuse::Pooled
                    && let Some(stream) = self.http1.reused_stream(&target.peer).await
                {
                    return Ok((Connection::http1(stream), true));
                }
                // Boxed: the state of making a connection is large and rarely needed.
                let stream = Box::pin(self.http1.new_stream(&target.peer))
                    .await
                    .map_err(Fault::connecting)?;
                Ok((Connection::http1(stream), false))
            }
            BackendProtocol::Http2 => {
                let (session, reused) = Box::pin(self.http2.get_http_session(&target.peer))
                    .await
                    .map_err(Fault::connecting)?;
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

    /// Gives a connection back after its request: it is kept where it can be
    /// used again, and closed where it cannot.
    pub(crate) async fn release(&self, connection: Connection, target: &Target) {
        match connection {
            Connection::Http1(connection) => {
                if let Some((stream, idle)) = connection.into_reusable() {
                    let idle = idle.map_or(target.keepalive, |idle| idle.min(target.keepalive));
                    let key = target.peer.reuse_hash();
                    self.http1.release_stream(stream, key, Some(idle));
                }
            }
            Connection::Http2(connection) => {
                let session = HttpSession::H2(connection.into_session());
                self.http2
                    .release_http_session(session, &target.peer, Some(target.keepalive))
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

impl Target {
    /// Describes the connection to an endpoint: where, how, how long, and with
    /// which pool key.
    pub(crate) fn new(backend: &CompiledBackend, endpoint: &Endpoint, timeouts: &Timeouts) -> Self {
        let tls = backend.backend.tls.as_ref();
        let server_name = tls.map(|tls| tls.server_name.clone()).unwrap_or_default();
        let mut peer = HttpPeer::new(endpoint.address, tls.is_some(), server_name);
        peer.group_key = backend.pool_key;
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
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
        Self {
            peer,
            protocol: backend.backend.protocol,
            keepalive: backend.backend.keepalive,
        }
    }
}

fn trust(authorities: &[CertificateDer<'static>]) -> Arc<[WrappedX509]> {
    authorities
        .iter()
        .map(|der| WrappedX509::new(der.to_vec(), parse_x509))
        .collect()
}
