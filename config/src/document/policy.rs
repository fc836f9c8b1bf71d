//! Policies: what a request must pass on its way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Duration, Satisfy, WafMode};

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
    /// Largest request body; larger gets 413. Default `10MiB`; `0` lifts the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
    /// What is done with `%2F` and `%5C` in a path. Default `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoded_slashes: Option<EncodedSlashes>,
    /// WAF profile to apply. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waf: Option<RouteWaf>,
    /// How long things may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
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

/// The WAF on a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteWaf {
    /// Name of the WAF profile; absent means no inspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Mode on this route. Default: that of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<WafMode>,
}

/// How long things may take on a route. Each field is inherited by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
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
