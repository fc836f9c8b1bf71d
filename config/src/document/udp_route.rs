//! UDP routes: datagrams that are passed on as they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Duration, RouteBackend};

/// Datagrams of udp listeners that are passed on to a backend.
///
/// What one address and port of a client sends to one address of the gateway is a
/// session, which stays at one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UdpRoute {
    /// Name, unique among the UDP routes; the label of metrics and logs.
    pub name: String,
    /// Names of udp listeners. Default: every udp listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<String>,
    /// Names of access lists; a client passes all of them before the backend gets
    /// a datagram.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<String>,
    /// Sessions open at once; beyond, the oldest whose client has not yet spoken after an
    /// answer gives way, or else datagrams that would begin a further one are dropped.
    /// Default 4000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Size of a datagram without its headers; a larger one is dropped, either way.
    /// Default `64KiB`, which no datagram exceeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_datagram_size: Option<ByteSize>,
    /// Datagrams that answer one of a client. A session ends when it has as many for
    /// each, and needs no idle time then. Default 0: their number is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<u32>,
    /// How long things may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<UdpTimeouts>,
    /// Backends, by weight. Default: none, and every datagram is dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RouteBackend>,
}

/// How long things may take on a UDP route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UdpTimeouts {
    /// Time in which no datagram passes either way; then the session ends. Default `1m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
}
