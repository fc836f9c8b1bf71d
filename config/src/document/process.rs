//! The process as a whole: management endpoints, logs, limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Duration};

/// The listener for /healthz, /readyz and /metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Management {
    /// Address and port. Default `[::]:9090`; kubelet and Prometheus must reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// The listener for the configuration dump and the audit look-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Admin {
    /// Loopback address and port, or `unix:/path/to/socket`. Default `127.0.0.1:9091`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Audit records kept in memory for look-up by request id. Default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_records: Option<u32>,
    /// Memory for them; the oldest go where they need more. Default `16MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_bytes: Option<ByteSize>,
}

/// Where the access log and the audit log go: `stdout`, `off` or a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Logs {
    /// One JSON line for each request. Default `stdout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// One JSON line for each request that a WAF rule matched, and for each
    /// egress connection. Default `stdout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// Headers, arguments and cookies whose values are never written down, beside those
    /// that are known: passwords, tokens, keys, sessions. A name counts that has one of
    /// these anywhere, without regard to case and separators. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// Limits of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Process {
    /// Time that open requests and tunnels get to end at shutdown. Default `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Duration>,
    /// Bytes of request bodies held for inspection at once, over all requests;
    /// when they are spent a further request gets 503. Default `256MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_buffered_bytes: Option<ByteSize>,
    /// Responses that are compressed at once; a further one passes as it is. Each
    /// takes 0.4 to 2.4 MiB. Default 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_compressions: Option<u32>,
    /// Copies of requests that are on their way to mirrors at once; a further one
    /// is dropped. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_mirrored: Option<u32>,
    /// Sessions of all UDP routes at once. Each has a port and a file descriptor of the
    /// process. Default 8000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_udp_sessions: Option<u32>,
    /// Pipes of the kernel that data of tunnels and TCP routes goes through at once where much of it
    /// flows between two sockets without TLS (Linux). Each takes two file descriptors, and holds up to
    /// 256 KiB while its reader is slow; a further direction is copied through memory. 0: all are.
    /// Default 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_relay_pipes: Option<u32>,
}
