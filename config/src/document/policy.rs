//! Policies: what a request must pass on its way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Compression, Cors, Duration, RouteWaf, Satisfy, StatusRange};

/// Policies of a route, a rule or, under `defaults`, of everything.
///
/// Each field is taken from the nearest place that has it: the rule, then the
/// route, then `defaults`. An empty list therefore lifts an inherited one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policies {
    /// Names of access lists; a request passes all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Vec<String>>,
    /// Names of authentications; a request passes all of them, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Vec<String>>,
    /// Whether a client must pass both the access lists and the authentications
    /// (`all`) or one of them (`any`). Default `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub satisfy: Option<Satisfy>,
    /// Names of rate limits; a request passes all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<String>>,
    /// What is done with requests that did not come over TLS. Default `optional`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<Https>,
    /// Largest request body; larger gets 413. Default `10MiB`; `0` lifts the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
    /// What is done with `%2F` and `%5C` in a path. Default `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoded_slashes: Option<EncodedSlashes>,
    /// WAF profile to apply. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waf: Option<RouteWaf>,
    /// Which pages of other origins may use it from a browser. Default: what the
    /// backend says; `{}` lifts an inherited policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Responses are compressed. Default: they pass as the backend sends them;
    /// `{}` lifts an inherited policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Names of sets of error pages; the first with a page is taken. Those of `defaults`
    /// also serve requests that no rule takes. Default: none, a short JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_pages: Option<Vec<String>>,
    /// How fast the body of one response is sent. Default: as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_bandwidth: Option<ResponseBandwidth>,
    /// How slow a request body may come; slower gets 408. gRPC calls and upgrades are exempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_body_rate: Option<MinBodyRate>,
    /// How long things may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// When a request is tried again at a backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
}

/// What is done with a request that came in clear. Behind a trusted proxy its
/// `X-Forwarded-Proto` says how it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Https {
    /// It is served.
    #[default]
    Optional,
    /// It is redirected to https with 308, on its port 443.
    Redirect,
    /// It is refused with 403.
    Required,
}

/// How fast the body of one response of a backend is sent to its client; what an
/// upgraded connection carries is exempt. Each field is inherited by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResponseBandwidth {
    /// Bytes in a second, as they are sent, compressed or not. Default `0`, which is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<ByteSize>,
    /// Bytes that go out as fast as they can before. Default `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<ByteSize>,
}

/// How slow a request body may come. Each field is inherited by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MinBodyRate {
    /// Bytes in a second. Default `240B`; `0` lifts the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<ByteSize>,
    /// How long a body may stay behind the rate: a client in a tunnel comes back.
    /// Time in which the backend takes nothing does not count. Default `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
}

/// What is done with an escaped slash or backslash in a path.
///
/// Some backends take `%2F` for a separator after they have decoded it, others
/// for a part of a name: what one path says to the gateway and another to the
/// backend gets around its policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodedSlashes {
    /// The request is refused with 400.
    #[default]
    Refuse,
    /// It stays escaped, as a part of its segment, for the gateway and for the
    /// backend: object stores and GitLab have names with slashes. A part between
    /// two of them that is `.` or `..` is refused all the same.
    Keep,
}

/// How long things may take on a route. Each field is inherited by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Time for a request with all its attempts, from its head to the end of its
    /// answer; then 504, and an answer that has begun is cut. An upgraded connection
    /// is not counted. Default `0`, no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// Time for one attempt, from the choice of an endpoint to the end of its answer;
    /// then 504, or another attempt where `retries.on` has `timeout`. Default `0`, no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
    /// Time to connect to the backend, TLS included. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// Longest silence of the backend while an answer is awaited or read; then 504. Default `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Duration>,
    /// Longest time a write to the backend may block. Default `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Duration>,
    /// Longest silence of the client while its request body is read; then 408.
    /// While a body is held for inspection, 16 KiB must come in each such time. Default `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_read: Option<Duration>,
    /// Longest time a write to the client may block; then the connection ends. Default `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_write: Option<Duration>,
}

/// When a request is tried again at a backend. Each field is inherited by itself.
///
/// Other than for `connect-failure` only an idempotent request is (RFC 9110 section
/// 9.2.2), and only one whose body can be sent again; never once an answer has begun.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retries {
    /// Attempts after the first, 0 to 10. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What is tried again. Default `[connect-failure, closed]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<RetryOn>>,
    /// Statuses of a backend that are tried again, 500 to 599, as `503` or `502-504`.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Vec<StatusRange>>,
}

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// No connection was made, or HTTP/2 says that the request was not looked at.
    ConnectFailure,
    /// The connection ended before an answer.
    Closed,
    /// No answer in `timeouts.read`, or in `timeouts.backendRequest`.
    Timeout,
}
