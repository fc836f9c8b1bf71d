//! Backends: groups of endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// A named group of endpoints, chosen in weighted round robin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Name, unique among the backends.
    pub name: String,
    /// What the endpoints speak. Default `http1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<BackendProtocol>,
    /// The endpoints; none means that every request gets 503.
    pub endpoints: Vec<Endpoint>,
    /// TLS towards the endpoints. Default: none, in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// How long an idle connection is kept for reuse; keep it below the
    /// backend's own. Default `4s`; `0` closes after each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Duration>,
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: with prior knowledge in clear, by ALPN over TLS. gRPC needs it.
    Http2,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Address and port, as `10.0.0.7:8080` or `[fd00::7]:8080`.
    pub address: String,
    /// Share of the requests, 0 to 1000. Default 1; 0 takes no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// TLS towards the endpoints of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// Name sent as SNI and looked for in the endpoint's certificate.
    pub server_name: String,
    /// PEM file with the CA certificates to trust. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}
