//! The connection to an endpoint.

use std::{sync::Arc, time::Duration};

use pingora::{
    protocols::ALPN,
    upstreams::peer::HttpPeer,
    utils::tls::{WrappedX509, parse_x509},
};
use portcullis_config::model::{BackendProtocol, Endpoint, Timeouts};
use rustls_pki_types::CertificateDer;

use crate::snapshot::CompiledBackend;

/// Streams that share one HTTP/2 connection to an endpoint.
///
/// pingora's default is 1, which opens a connection for each gRPC call.
const MAX_UPSTREAM_STREAMS: usize = 100;

/// Describes the connection to an endpoint: where, how, how long, and with
/// which pool key.
pub(super) fn peer(
    backend: &CompiledBackend,
    endpoint: &Endpoint,
    timeouts: &Timeouts,
) -> Box<HttpPeer> {
    let tls = backend.backend.tls.as_ref();
    let server_name = tls.map(|tls| tls.server_name.clone()).unwrap_or_default();
    let mut peer = HttpPeer::new(endpoint.address, tls.is_some(), server_name);
    peer.group_key = backend.pool_key;
    let options = &mut peer.options;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect);
    options.read_timeout = Some(timeouts.read);
    options.write_timeout = Some(timeouts.write);
    options.idle_timeout = Some(backend.backend.keepalive);
    match backend.backend.protocol {
        BackendProtocol::Http1 => options.alpn = ALPN::H1,
        BackendProtocol::Http2 => {
            options.alpn = ALPN::H2;
            options.max_h2_streams = MAX_UPSTREAM_STREAMS;
            options.h2_ping_interval = Some(Duration::from_secs(30));
        }
    }
    if let Some(authorities) = &backend.authorities {
        let derived = backend
            .connector
            .get_or_init(|| Arc::new(trust(authorities)));
        options.ca = derived.downcast_ref::<Arc<[WrappedX509]>>().cloned();
    }
    Box::new(peer)
}

fn trust(authorities: &[CertificateDer<'static>]) -> Arc<[WrappedX509]> {
    authorities
        .iter()
        .map(|der| WrappedX509::new(der.to_vec(), parse_x509))
        .collect()
}
