//! Backends.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use crate::document::BackendProtocol;

/// A group of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique name; balancer position and pools are kept under it.
    pub name: String,
    /// What the endpoints speak.
    pub protocol: BackendProtocol,
    /// The endpoints; weight 0 takes no requests.
    pub endpoints: Vec<Endpoint>,
    /// TLS towards the endpoints.
    pub tls: Option<BackendTls>,
    /// Idle time of a pooled connection; zero closes after each request.
    pub keepalive: Duration,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// Share of the requests.
    pub weight: u32,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// SNI and certificate name.
    pub server_name: String,
    /// PEM bundle of trusted CAs; `None` means the system's.
    pub ca: Option<PathBuf>,
}
