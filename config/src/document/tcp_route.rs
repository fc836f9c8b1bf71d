//! TCP routes: connections that are passed on as they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, RouteBackend};

/// Connections that are passed on to a backend, byte for byte.
///
/// With `hosts`, those of https listeners that ask for one of them by SNI (TLS
/// passthrough); without, every connection of tcp listeners.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpRoute {
    /// Name, unique among the TCP routes; the label of metrics and logs.
    pub name: String,
    /// Names of listeners. Default: with hosts every https listener, without
    /// hosts every tcp listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<String>,
    /// Hosts, exact or `*.suffix` (one label or more), as clients name them by SNI.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Names of access lists; a connection passes all of them before the backend
    /// is asked. The client is the peer, or what the PROXY header says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<String>,
    /// Connections open at once; a further one is closed at once. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// How long things may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TcpTimeouts>,
    /// Backends, by weight. Default: none, and every connection is closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RouteBackend>,
}

/// How long things may take on a TCP route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpTimeouts {
    /// Time to connect to one endpoint. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// Time in which no byte passes either way; then the connection ends. Default `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
}
