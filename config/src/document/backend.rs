//! Backends: groups of endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// A named group of endpoints.
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
    /// How an endpoint is chosen. Default `round-robin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// A cookie that brings a client back to its endpoint. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Endpoints that fail requests are left out for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<Ejection>,
    /// How long an endpoint that is new, or back after it was left out, gets fewer
    /// requests: a tenth of its share at first, all of it at the end. Default `0`, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Duration>,
    /// Endpoints are asked whether they are well, and left out while they are
    /// not. Default: they are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What it is given at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BackendLimits>,
    /// How many of its requests may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
    /// PROXY protocol header that each connection to the endpoints begins with; for
    /// TCP routes alone. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS towards the endpoints. Default: none, in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// How long an idle connection is kept for reuse; keep it below the
    /// backend's own. Default `4s`; `0` closes after each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Duration>,
    /// Whether a name may have addresses that are never those of a service elsewhere:
    /// loopback, link-local, metadata services of clouds, unspecified, multicast. `false`
    /// where others choose the name; endpoints that are written as addresses are not
    /// judged. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_addresses: Option<bool>,
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

/// A version of the PROXY protocol, which tells an endpoint who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
}

/// How an endpoint is chosen; each way goes by weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Of the next two in turn, the one with fewer requests in flight.
    LeastRequests,
    /// Of the next two in turn, the one whose answers come sooner for the requests in
    /// flight: a moving average that follows a peak at once and forgets it in seconds.
    PeakEwma,
    /// The same endpoint for the same key, as long as it takes requests; when
    /// endpoints come and go only the keys of these move.
    Hash(HashKey),
}

/// What requests are told apart by. One without the header or the cookie goes by
/// the client's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    /// The first value of this header.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The client's address, an IPv6 address whole.
    Address,
    /// The path in its canonical form, without the query.
    Path,
}

/// A cookie that brings a client back: to its endpoint as `affinity` of a backend, to
/// its backend as `sticky` of a rule.
///
/// Its value names the one or the other by a keyed hash, which tells nobody what it
/// is. A client without it, with another value, or whose endpoint or backend takes no
/// requests gets one by `balance` or by weight, and the cookie with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Affinity {
    /// Name of the cookie.
    pub cookie: String,
    /// `Max-Age`, in whole seconds. Default: none, the client forgets it with its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// `Path`. Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `Domain`. Default: none, the host that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// `Secure`. Default: where the client came over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// `HttpOnly`. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_only: Option<bool>,
    /// `SameSite`. Default `lax`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// File with the key of the hash, 16 bytes or more, the same for all gateway
    /// processes. Default: a random key of this process, which another does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// With which requests of other sites a cookie is sent (RFC 6265bis section 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Those that lead to this one.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All; only with `Secure`.
    None,
}

/// Leaving out endpoints whose requests fail: no connection, or one that ends
/// before there is an answer. A slow answer, one of status 500, and an end while
/// the client is still sending do not count, since a client could bring them about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ejection {
    /// Failures in a row that make it be left out. Default 5; 0 leaves out none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// For how long, the first time; doubled each time it fails again, ten times
    /// this at most. Default `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    /// Endpoints of the backend that may be left out at once, in percent. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ejected: Option<u32>,
}

/// What a backend is given at once, by one gateway process and over all its
/// endpoints. A request over it waits for its turn, and gets 503 where it may not
/// wait, or has waited for too long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BackendLimits {
    /// Connections that are open, idle ones included; one that is idle makes room for
    /// one that is needed. Default 20000; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Requests in flight, each stream of HTTP/2 and each upgraded connection being
    /// one. Default 20000; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Requests that wait. Default 1000; 0 lets none wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending: Option<u32>,
    /// How long one waits. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_timeout: Option<Duration>,
}

/// How many requests of a backend may be tried again: a share of those of the last
/// ten seconds, so that trying again does not multiply what an outage has to bear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryBudget {
    /// The share, in percent of the requests, 0 to 100. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// What is allowed besides, however few requests there are. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_per_second: Option<u32>,
}

/// Asking endpoints whether they are well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Health {
    /// Path that is asked for with GET; a status of 200 to 399 is well. Default:
    /// none, a TCP connection is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The endpoint is asked with `grpc.health.v1.Health/Check`, and `SERVING` is well;
    /// needs protocol `http2`. Default: none. Not together with `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealth>,
    /// Host of the question. Default: the endpoint's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Time between two questions. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Time for the answer. Default `2s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Failures in a row after which an endpoint is left out. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_after: Option<u32>,
    /// Good answers in a row after which it takes requests again. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_after: Option<u32>,
}

/// Asking a gRPC server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcHealth {
    /// Name of the service. Default: none, the server as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Address and port, as `10.0.0.7:8080` or `[fd00::7]:8080`; or a DNS name and port,
    /// as `shop.internal:8080`, which stands for each of its addresses.
    pub address: String,
    /// Share of the requests, 0 to 1000, for each address of a name. Default 1; 0 takes
    /// no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// TLS towards the endpoints of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// Name sent as SNI, and looked for in the endpoint's certificate unless
    /// `subjectAltNames` says otherwise.
    pub server_name: String,
    /// PEM file with the CA certificates to trust. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Names of which the endpoint's certificate must have one, in place of
    /// `serverName`: `dns:shop.internal` or `uri:spiffe://cluster.local/ns/shop/sa/web`.
    /// Default: `serverName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_alt_names: Option<Vec<String>>,
    /// PEM file with the certificate that is shown to endpoints, the leaf first.
    /// Default: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// PEM file with its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}
