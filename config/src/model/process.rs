//! Management, admin, logs and limits of the process.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// Settings of the process. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Address of /healthz, /readyz and /metrics.
    pub management: SocketAddr,
    /// Address of the admin endpoints.
    pub admin: AdminAddress,
    /// Audit records kept in memory.
    pub audit_records: u32,
    /// Bytes that they may take.
    pub audit_bytes: u64,
    /// Where the access log goes.
    pub access_log: LogSink,
    /// Where the audit log goes.
    pub audit_log: LogSink,
    /// Names whose values are not written down, beside those that are known.
    pub secrets: Vec<String>,
    /// Time to end at shutdown.
    pub drain_timeout: Duration,
    /// Bytes of request bodies held at once.
    pub max_buffered_bytes: u64,
    /// Responses that are compressed at once.
    pub max_compressions: u32,
    /// Copies of requests that are on their way to mirrors at once.
    pub max_mirrored: u32,
    /// Sessions of all UDP routes at once.
    pub max_udp_sessions: u32,
    /// Pipes of the kernel that relayed data goes through at once.
    pub max_relay_pipes: u32,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            management: SocketAddr::from(([0u16; 8], 9090)),
            admin: AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 9091))),
            audit_records: 1000,
            audit_bytes: 16 << 20,
            access_log: LogSink::Stdout,
            audit_log: LogSink::Stdout,
            secrets: Vec::new(),
            drain_timeout: Duration::from_secs(30),
            max_buffered_bytes: 256 << 20,
            max_compressions: 500,
            max_mirrored: 256,
            max_udp_sessions: 8000,
            max_relay_pipes: 128,
        }
    }
}

/// Where the admin endpoints listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// As it is written in a document.
impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As it is written in a document.
impl fmt::Display for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}
