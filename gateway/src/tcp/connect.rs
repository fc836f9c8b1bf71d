//! A connection to an endpoint of a TCP route.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use portcullis_config::model::Balance;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{proxy_header::proxy_header, serve::Denied};
use crate::{
    listen::TcpConnection,
    snapshot::{
        CompiledBackend, CompiledTcpRoute, InFlight, Place, Preference, Targets, rendezvous,
    },
    upstream::{Open, blame},
};

/// Endpoints tried for one connection.
const MAX_TRIES: usize = 3;

/// A connection to an endpoint, as long as it is open.
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    pub(super) backend: Arc<CompiledBackend>,
    pub(super) endpoint: SocketAddr,
    pub(super) attempts: u32,
    _at_work: InFlight,
    _place: Place,
    _open: Open,
}

/// Takes a place at a backend of a route, that is next by weight.
///
/// # Errors
/// Why there is none.
pub(crate) fn take_place(targets: &Targets) -> Result<(&Arc<CompiledBackend>, Place), Denied> {
    let backend = targets.next().ok_or_else(Denied::no_endpoint)?;
    let overloaded = || Denied::new("upstream", "overloaded").by(&backend.backend.name);
    let place = backend.gate().try_enter().ok_or_else(overloaded)?;
    Ok((backend, place))
}

/// Connects to an endpoint of a backend of the route, another one where it fails,
/// and sends what stands before the client's own bytes.
///
/// # Errors
/// Why there is no connection.
pub(super) async fn connect(
    route: &CompiledTcpRoute,
    connection: &TcpConnection,
) -> Result<Upstream, Denied> {
    let (backend, place) = take_place(&route.targets)?;
    let by = |denied: Denied| denied.by(&backend.backend.name);
    let preference = Preference {
        key: key(backend, connection),
        ..Preference::default()
    };
    let mut tried = Vec::new();
    loop {
        let chosen = backend.choose(&tried, preference);
        let endpoint = chosen.ok_or_else(|| by(Denied::no_endpoint()))?.endpoint;
        let address = endpoint.address;
        let at_work = endpoint.begin();
        let work = open(backend, address, connection);
        match within(route.route.connect, work).await {
            Ok(stream) => {
                endpoint.answered();
                return Ok(Upstream {
                    stream,
                    backend: Arc::clone(backend),
                    endpoint: address,
                    attempts: u32::try_from(tried.len() + 1).unwrap_or(u32::MAX),
                    _at_work: at_work,
                    _place: place,
                    _open: Open::new(backend.metrics.connections()),
                });
            }
            Err(error) => {
                tracing::debug!(%error, endpoint = %address, "endpoint not reached");
                backend.metrics.connect_failed();
                drop(at_work);
                blame(backend, endpoint);
                tried.push(address);
                if tried.len() < MAX_TRIES && backend.has_other(&tried) {
                    continue;
                }
                let reason = match error.kind() {
                    io::ErrorKind::TimedOut => "connect-timeout",
                    _ => "connect-failed",
                };
                return Err(by(Denied::new("upstream", reason)));
            }
        }
    }
}

/// What ties a client to an endpoint, where its backend goes by address.
fn key(backend: &CompiledBackend, connection: &TcpConnection) -> Option<u64> {
    let Balance::Hash(_) = &backend.backend.balance else {
        return None;
    };
    let client = connection.client.ip().to_canonical().to_string();
    Some(rendezvous::hash(client.as_bytes()))
}

async fn open(
    backend: &CompiledBackend,
    endpoint: SocketAddr,
    connection: &TcpConnection,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(endpoint).await?;
    stream.set_nodelay(true)?;
    if let Some(version) = backend.backend.proxy_protocol {
        let header = proxy_header(version, connection.client, connection.local);
        stream.write_all(&header).await?;
    }
    stream.write_all(&connection.ahead).await?;
    Ok(stream)
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
