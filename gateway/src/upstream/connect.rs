//! Making connections, and keeping them for the next request.

use std::{collections::HashSet, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use pingora::{
    connectors::http::v2::{H2HandshakeSettings, handshake},
    protocols::{
        ALPN, Stream, http::v2::client::Http2Session, l4::stream::Stream as TcpStream, tls::client,
    },
};
use portcullis_config::model::BackendProtocol;
use tokio_rustls::TlsConnector;

use super::{
    Connection, Fault, FaultKind, OpenStream, h1, h2,
    h2_pool::Http2Pool,
    open::Open,
    pool::{self, Pool},
};
use crate::{
    snapshot::{CompiledBackend, EndpointState},
    within::within,
};

/// Idle HTTP/1 connections that are kept for each endpoint.
const MAX_IDLE: usize = 1024;

/// Streams that share one HTTP/2 connection to an endpoint.
const MAX_STREAMS: usize = 100;

/// Time between two pings on an HTTP/2 connection, which tell whether it lives.
const PING: Duration = Duration::from_secs(30);

/// Makes connections to endpoints and keeps those that may be used again.
pub(crate) struct Connector {
    pool: Arc<Pool>,
    http2: Arc<Http2Pool>,
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
    pub endpoint: &'a EndpointState,
    /// Time to connect, TLS included.
    pub connect: Duration,
    /// Time for the endpoint to be reached at all.
    pub reach: Duration,
}

impl Connector {
    /// Makes a connector without connections; to be called on a runtime.
    pub(crate) fn new() -> Self {
        Self {
            pool: Pool::new(MAX_IDLE),
            http2: Http2Pool::new(),
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
                let open = self.count(target)?;
                let stream = Box::pin(made_within(target.connect, connect(target))).await?;
                let stream = OpenStream { stream, open };
                Ok((Connection::http1(stream), false))
            }
            BackendProtocol::Http2 => {
                // A stream may have to wait as well, where the endpoint allows fewer now.
                made_within(target.connect, async {
                    if let Some((session, open)) = self.http2.take(target.key()).await {
                        return Ok((Connection::http2(session, open), true));
                    }
                    Box::pin(self.open_http2(target)).await
                })
                .await
            }
        }
    }

    /// Makes a connection, its TLS included, and closes it.
    ///
    /// # Errors
    /// When none can be made.
    pub(crate) async fn connect(&self, target: &Target<'_>) -> Result<(), Fault> {
        made_within(target.connect, connect(target)).await.map(drop)
    }

    /// Gives a connection back after its request: it is kept where it can be
    /// used again, and closed where it cannot.
    pub(crate) fn release(&self, connection: Connection, target: &Target<'_>) {
        let keepalive = target.backend.backend.keepalive;
        match connection {
            Connection::Http1(connection) => {
                if let Some((stream, idle)) = connection.into_reusable() {
                    let keep = idle.map_or(keepalive, |idle| idle.min(keepalive));
                    if !keep.is_zero() && !target.endpoint.is_gone() {
                        self.pool.put(target.key(), stream, keep);
                    }
                }
            }
            Connection::Http2(connection) => {
                // Its stream ends; the connection is in the pool.
                drop(connection);
                if keepalive.is_zero() || target.endpoint.is_gone() {
                    self.http2.close_idle(|key| *key == target.key());
                }
            }
        }
    }

    /// Closes idle connections to endpoints that a backend does not have any more.
    pub(crate) fn close(&self, backend: &CompiledBackend, gone: &[SocketAddr]) {
        if !gone.is_empty() {
            self.keep(|(of, address)| *of != backend.pool_key || !gone.contains(address));
        }
    }

    /// Closes idle connections but to these endpoints of these backends.
    pub(crate) fn keep_backends(&self, backends: &[Arc<CompiledBackend>]) {
        let kept: HashSet<pool::Key> = backends
            .iter()
            .flat_map(|backend| {
                let set = backend.endpoints();
                let members = set.members().iter();
                let keys = members.map(|member| (backend.pool_key, member.state.address));
                keys.collect::<Vec<_>>()
            })
            .collect();
        self.keep(|key| kept.contains(key));
    }

    fn keep(&self, which: impl Fn(&pool::Key) -> bool) {
        self.pool.keep(&which);
        self.http2.close_idle(|key| !which(key));
    }

    async fn open_http2(&self, target: &Target<'_>) -> Result<(Connection, bool), Fault> {
        let _turn = self.http2.turn(target.key()).await;
        // Who had the turn before may have made one.
        if let Some((session, open)) = self.http2.take(target.key()).await {
            return Ok((Connection::http2(session, open), true));
        }
        let open = Arc::new(self.count(target)?);
        let stream = connect(target).await?;
        if target.backend.tls.is_some() && stream.selected_alpn_proto() != Some(ALPN::H2) {
            return Err(Fault::new(
                FaultKind::Malformed,
                "the endpoint does not speak HTTP/2",
            ));
        }
        let mut settings = H2HandshakeSettings::new();
        settings.max_streams = MAX_STREAMS;
        settings.ping_interval = Some(PING);
        let failed = |error: Box<pingora::Error>| Fault::connecting(&error);
        let connection = handshake(stream, settings).await.map_err(failed)?;
        let session = connection.spawn_stream().await.map_err(failed)?;
        let session = session.ok_or_else(|| {
            Fault::new(FaultKind::Connect, "the endpoint allows no stream").untouched()
        })?;
        let keepalive = target.backend.backend.keepalive;
        self.http2
            .put(target.key(), connection, Arc::clone(&open), keepalive);
        Ok((Connection::http2(session, open), false))
    }

    /// Counts a connection that is to be made, for which an idle one makes room where
    /// there are as many as may be.
    fn count(&self, target: &Target<'_>) -> Result<Open, Fault> {
        let gauge = target.backend.metrics.connections();
        let max = i64::from(target.backend.backend.limits.max_connections);
        let open = Open::new(gauge);
        if max == 0 || gauge.get() <= max {
            return Ok(open);
        }
        let pool_key = target.backend.pool_key;
        match target.backend.backend.protocol {
            // Its place says that no more are in use.
            BackendProtocol::Http1 => {
                self.pool.close_one(pool_key);
            }
            BackendProtocol::Http2 => {
                self.http2.close_idle(|(backend, _)| *backend == pool_key);
                if gauge.get() > max {
                    return Err(Fault::new(FaultKind::Overloaded, "no stream is free"));
                }
            }
        }
        Ok(open)
    }
}

impl Connection {
    fn http1(stream: OpenStream) -> Self {
        Self::Http1(Box::new(h1::Connection::new(stream)))
    }

    fn http2(session: Http2Session, open: Arc<Open>) -> Self {
        Self::Http2(Box::new(h2::Connection::new(session, open)))
    }
}

impl Target<'_> {
    fn key(&self) -> pool::Key {
        (self.backend.pool_key, self.endpoint.address)
    }
}

/// Connects to an endpoint, with TLS where its backend has it.
async fn connect(target: &Target<'_>) -> Result<Stream, Fault> {
    let refused = |error: std::io::Error| Fault::new(FaultKind::Connect, error).untouched();
    let reaching = pin!(tokio::net::TcpStream::connect(target.endpoint.address));
    let stream = within(target.reach, reaching)
        .await
        .ok_or_else(not_in_time)?
        .map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let stream = TcpStream::from(stream);
    let Some(tls) = &target.backend.tls else {
        return Ok(Box::new(stream));
    };
    let config = target.endpoint.tls(target.backend.pool_key, &tls.config);
    let connector = TlsConnector::from(config);
    let stream = client::handshake(&connector, &tls.server_name, stream)
        .await
        .map_err(|error| Fault::connecting(&error))?;
    Ok(Box::new(stream))
}

/// Makes a connection in its time.
async fn made_within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let made = within(limit, pin!(work)).await;
    made.unwrap_or_else(|| Err(not_in_time()))
}

fn not_in_time() -> Fault {
    Fault::new(FaultKind::ConnectTimeout, "no connection in time").untouched()
}
