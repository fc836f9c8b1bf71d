//! Proxies that the egress proxy itself goes through.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// A proxy that destinations are reached through. It is asked as HTTP proxies are (RFC 9110 section
/// 9.3.6, RFC 9112 section 3.2.2); clients never choose it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressUpstreamProxy {
    /// Name, unique among the upstream proxies.
    pub name: String,
    /// Where it is: `HOST:PORT` or `ADDRESS:PORT`, at least one. They are tried in turn until one
    /// can be connected to.
    pub addresses: Vec<String>,
    /// TLS that is spoken to it. Default: none, and it is spoken to in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<EgressUpstreamProxyTls>,
    /// File with `USER:PASSWORD`, one line, that it is shown as Basic (RFC 7617). Relative to the
    /// configuration file. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// Who looks names up. Default `pinned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<UpstreamProxyResolve>,
    /// What is reached through it: names, addresses and ranges as in `noProxy`, but that ranges are
    /// about destinations that are asked for by address alone. Of several upstream proxies the first
    /// takes a destination. Default `["*"]`, everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<String>>,
    /// What of that is reached without it, directly. `example.com` is that name and all below it,
    /// `.example.com` and `*.example.com` are all below it; an address or a CIDR range is every
    /// destination there, a name as well where all its addresses lie in it and were looked up here;
    /// `*` is everything; `:PORT` behind a name or an address is for that port alone. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
    /// Time until a destination is connected through it, with all that is tried for that. Default
    /// `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_timeout: Option<Duration>,
}

/// TLS to an upstream proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressUpstreamProxyTls {
    /// PEM file with authorities that are trusted beside those of the system. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name that its certificate must have. Default: the host that it is reached by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// Who looks up the names of destinations that are reached through an upstream proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProxyResolve {
    /// The egress proxy: it judges the addresses and asks for one of them.
    #[default]
    Pinned,
    /// Both: the egress proxy judges the addresses that it finds, and asks for the name. What the
    /// upstream proxy finds may be something else.
    Checked,
    /// The upstream proxy alone, where the cluster cannot look names up. No address is judged: the
    /// upstream proxy must keep private ones from being reached.
    Proxy,
}
