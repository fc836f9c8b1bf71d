//! Backends.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use http::HeaderName;

use super::ProxyProtocol;
pub use crate::document::{BackendProtocol, SameSite};

/// A group of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique name; balancer position and pools are kept under it.
    pub name: String,
    /// What the endpoints speak.
    pub protocol: BackendProtocol,
    /// The endpoints; weight 0 takes no requests.
    pub endpoints: Vec<Endpoint>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// A cookie that brings a client back to its endpoint.
    pub affinity: Option<Affinity>,
    /// When endpoints that fail are left out.
    pub ejection: Ejection,
    /// How long a new endpoint gets fewer requests; zero means not at all.
    pub slow_start: Duration,
    /// How endpoints are asked whether they are well; `None` means not at all.
    pub health: Option<Health>,
    /// What it is given at once.
    pub limits: BackendLimits,
    /// How many requests may be tried again.
    pub retry_budget: RetryBudget,
    /// PROXY protocol header of each connection.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS towards the endpoints.
    pub tls: Option<BackendTls>,
    /// Idle time of a pooled connection; zero closes after each request.
    pub keepalive: Duration,
    /// Whether a name may have addresses of the machine itself and of metadata services.
    pub local_addresses: bool,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Of the next two in turn, the one with fewer requests in flight.
    LeastRequests,
    /// Of the next two in turn, the one whose answers come sooner.
    PeakEwma,
    /// The same for the same key.
    Hash(HashKey),
}

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The first value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The client's address.
    Address,
    /// The canonical path.
    Path,
}

/// A cookie that brings a client back to its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Name of the cookie.
    pub cookie: String,
    /// Its attributes as they are written, `Secure` excepted.
    pub attributes: String,
    /// `Secure`; `None` means where the client came over TLS.
    pub secure: Option<bool>,
    /// File with the key of the hash; `None` means one of the process.
    pub secret: Option<PathBuf>,
}

/// When endpoints that fail are left out. The document's defaults are [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row; 0 means never.
    pub failures: u32,
    /// For how long, the first time.
    pub time: Duration,
    /// Share of the endpoints that may be left out, in percent.
    pub max_ejected: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            time: Duration::from_secs(10),
            max_ejected: 50,
        }
    }
}

/// What a backend is given at once. The document's defaults are [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// Open connections; 0 means no limit.
    pub max_connections: u32,
    /// Requests in flight; 0 means no limit.
    pub max_requests: u32,
    /// Requests that wait.
    pub max_pending: u32,
    /// How long one waits.
    pub pending_timeout: Duration,
}

impl Default for BackendLimits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_requests: 20_000,
            max_pending: 1_000,
            pending_timeout: Duration::from_secs(5),
        }
    }
}

/// How many requests may be tried again. The document's defaults are [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Share of the requests, in percent.
    pub percent: u32,
    /// Allowed besides, each second.
    pub min_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            percent: 20,
            min_per_second: 10,
        }
    }
}

/// How endpoints are asked whether they are well. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What they are asked.
    pub question: HealthQuestion,
    /// Host of the question; `None` means the endpoint's address.
    pub host: Option<String>,
    /// Time between two questions.
    pub interval: Duration,
    /// Time for the answer.
    pub timeout: Duration,
    /// Failures in a row that make it unwell.
    pub unhealthy_after: u32,
    /// Good answers in a row that make it well again.
    pub healthy_after: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            question: HealthQuestion::Connection,
            host: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 1,
        }
    }
}

/// What an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthQuestion {
    /// Nothing: a connection is enough.
    Connection,
    /// For this path, with GET.
    Http(String),
    /// `grpc.health.v1.Health/Check` of this service; empty means the server.
    Grpc(String),
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: EndpointAddress,
    /// Share of the requests.
    pub weight: u32,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// Here.
    Socket(SocketAddr),
    /// At every address of a name.
    Name {
        /// The name, in lower case.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// How named endpoints are looked up. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// DNS servers; empty means the system's.
    pub servers: Vec<SocketAddr>,
    /// Time for a look-up.
    pub timeout: Duration,
    /// Shortest time that an answer is kept.
    pub min_ttl: Duration,
    /// Longest time that an answer is kept.
    pub max_ttl: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
        }
    }
}

/// TLS towards endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// SNI, and the name in the certificate where no other is given.
    pub server_name: String,
    /// PEM bundle of trusted CAs; `None` means the system's.
    pub ca: Option<PathBuf>,
    /// Names of which the certificate must have one; empty means the server name.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// PEM files of the client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A name in a certificate (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAltName {
    /// A host.
    Dns(String),
    /// A URI, as it is written.
    Uri(String),
}
