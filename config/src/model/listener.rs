//! Listeners and certificates.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::TlsSettings;
pub use crate::document::ListenerProtocol;

/// An ingress listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique name.
    pub name: String,
    /// What it speaks.
    pub protocol: ListenerProtocol,
    /// Where to bind; port 0 takes a free one.
    pub address: SocketAddr,
    /// Whether each connection starts with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// TLS settings; used by HTTPS listeners only.
    pub tls: ListenerTls,
    /// Limits on connections.
    pub limits: ListenerLimits,
}

/// TLS settings of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerTls {
    /// How TLS is spoken with hosts that no TLS policy names.
    pub settings: TlsSettings,
    /// Certificate for clients without a known SNI, by name.
    pub default_certificate: Option<String>,
    /// Files with the keys of session tickets, the one that encrypts first; empty
    /// means keys of the process alone.
    pub ticket_keys: Vec<PathBuf>,
}

/// Limits on the connections of one listener, or on the sessions of a udp one. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerLimits {
    /// Connections open at once.
    pub max_connections: u32,
    /// Connections open at once from one client address; 0 is no limit.
    pub max_connections_per_address: u32,
    /// Time for the PROXY protocol header.
    pub proxy_header_timeout: Duration,
    /// Time for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Bytes in a ClientHello that a TCP route is chosen by.
    pub max_client_hello_size: u64,
    /// Time for a whole HTTP/1 request head.
    pub header_timeout: Duration,
    /// Idle time between requests.
    pub idle_timeout: Duration,
    /// Bytes in a request head.
    pub max_header_size: u64,
    /// Headers in a request.
    pub max_headers: u32,
    /// Age of a connection; 0 is no limit.
    pub max_connection_age: Duration,
    /// Requests of a connection; 0 is no limit.
    pub max_requests_per_connection: u32,
    /// Concurrent streams of an HTTP/2 connection.
    pub max_streams: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connections_per_address: 0,
            proxy_header_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(10),
            max_client_hello_size: 32 << 10,
            header_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            max_header_size: 64 << 10,
            max_headers: 100,
            max_connection_age: Duration::from_secs(3600),
            max_requests_per_connection: 0,
            max_streams: 128,
        }
    }
}

/// A certificate and its key, by file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Unique name.
    pub name: String,
    /// PEM chain; absolute or relative to the working directory.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// OCSP response in DER.
    pub ocsp: Option<PathBuf>,
    /// Hosts to serve it for, lower case, `*.` first label allowed; empty means
    /// the certificate's own DNS names.
    pub hosts: Vec<String>,
}

impl Certificate {
    /// The namespace of the object that it was made of, which its name begins with; none for
    /// one of a file, whose name has no `/`.
    pub fn namespace(&self) -> Option<&str> {
        self.name.split_once('/').map(|(namespace, _)| namespace)
    }
}
