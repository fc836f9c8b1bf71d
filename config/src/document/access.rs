//! Who may come in, and whose word on the client address counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Rate};

/// How the client address is found behind other proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientAddress {
    /// Addresses and CIDR ranges of proxies whose `X-Forwarded-For`, `-Proto`,
    /// `-Host` and `-Port` are believed. The client is the right-most address
    /// that is not one of them. Default: nobody is believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<String>,
}

/// A named address list.
///
/// An address on `deny` is refused. Otherwise, where `allow` is given, only an
/// address on it passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessList {
    /// Name, unique among the access lists.
    pub name: String,
    /// Which address is judged. Default `client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<AccessAddress>,
    /// Addresses and CIDR ranges that pass; an empty list lets nobody pass.
    /// Default: every address passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Addresses and CIDR ranges that are refused, before `allow` is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Which of the two addresses of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessAddress {
    /// The client, found through trusted proxies.
    #[default]
    Client,
    /// The peer of the connection itself.
    Peer,
}

/// A named rate limit. A request over it gets `status` with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Name, unique among the rate limits. Counters outlive a reload under this name.
    pub name: String,
    /// Sustained rate for one key, as `10/s` or `300/m`.
    pub rate: Rate,
    /// Requests that may come at once on top of the rate's spacing. Default: the rate's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// What is counted separately. Default `client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RateLimitKey>,
    /// Addresses and networks of clients that are neither counted nor refused, whatever
    /// the key is. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exempt: Vec<String>,
    /// Status of a refusal, 400 to 599. Default 429 (RFC 6585 section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Keys remembered at once; beyond that, keys that are seldom seen are forgotten. Default 100000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u32>,
    /// `enforce` or `report`: report logs and counts, and lets pass. Default `enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<LimitMode>,
    /// Longest `Retry-After` told to a client. Default `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retry_after: Option<Duration>,
}

/// What a rate limit counts by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum RateLimitKey {
    /// By client address; IPv6 clients by their /64.
    Client,
    /// By network prefix of the client.
    Prefix {
        /// Prefix length for IPv4 clients, 0 to 32. Default 24.
        #[serde(default = "default_v4_prefix")]
        v4: u8,
        /// Prefix length for IPv6 clients, 0 to 128. Default 56.
        #[serde(default = "default_v6_prefix")]
        v6: u8,
    },
    /// By the value of a request header; requests without it count by client address.
    Header(String),
    /// One key for the whole route.
    Route,
}

fn default_v4_prefix() -> u8 {
    24
}

fn default_v6_prefix() -> u8 {
    56
}

/// Whether a limit acts or only tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitMode {
    /// Refuse what is over the limit.
    #[default]
    Enforce,
    /// Count and log it, and let it pass.
    Report,
}
