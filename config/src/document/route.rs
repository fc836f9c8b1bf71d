//! Routes: which request goes where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Affinity, Canary, Mirror, Policies};

/// Rules for some hosts.
///
/// A host is matched exactly before by wildcard, longer wildcards first. Rules
/// of one host are then ordered as in the Gateway API (HTTPRouteRule): exact
/// path, regular expression (longest first), longest prefix, method, number of
/// headers and cookies, number of query parameters; ties go to the route and rule
/// that stand first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Name, unique among the routes.
    pub name: String,
    /// Listeners it is served on. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<String>,
    /// Host names, exact or `*.suffix` (one or more labels, never the suffix
    /// itself). Default: every host that no other route names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Whether `*.` of its hosts stands for one label alone, as in an Ingress. Default false,
    /// one or more, as in the Gateway API.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_label: bool,
    /// Policies of all its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Box<Policies>>,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Matches, what is done to the request, and where it goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// A request matches the rule when it matches one of these. Default: every request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// Policies of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<Box<Policies>>,
    /// Answer with a redirect instead of asking a backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Answer with this instead of asking a backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
    /// Change the path or host before the backend sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Change request headers before the backend sees them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderChanges>,
    /// Change response headers before the client sees them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderChanges>,
    /// Backends, by weight. None, where the rule does not answer by itself, means 503.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RouteBackend>,
    /// A backend that gets some of its requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// A cookie that keeps a client with one of `backends` or the canary, where weights
    /// decide. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Affinity>,
    /// Backends that get copies of its requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
}

/// Conditions on a request; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Match {
    /// Condition on the path. Default `prefix: /`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method, in capitals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Conditions on headers; all must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Conditions on cookies; all must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<ParameterMatch>,
    /// Conditions on query parameters; all must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<ParameterMatch>,
}

/// A condition on the canonical path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PathMatch {
    /// The whole path, case-sensitive.
    Exact(String),
    /// Whole leading segments: `/a` and `/a/` both match `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// A regular expression (Rust `regex` syntax) that matches the whole path.
    Regex(String),
}

/// A condition on one header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Header name, in any case.
    pub name: String,
    /// The value must be this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The whole value must match this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// The header must be there (`true`) or must not (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// A condition on one cookie or query parameter. Of several with the name the
/// first counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterMatch {
    /// Its name, in this case; of a query parameter after decoding.
    pub name: String,
    /// The value must be this; that of a query parameter is decoded first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The whole value must match this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// It must be there (`true`) or must not (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Redirect {
    /// `http` or `https`. Default: that of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Host. Default: that of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port. Default: the scheme's own where `scheme` is given, else that of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whole new path, as that of `rewrite`. Default: that of the request. The query is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Replaces the matched prefix; the rule's matches must all be prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// 301, 302, 303, 307 or 308. Default 302.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// An answer of the gateway's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Respond {
    /// Status, 200 to 599. Default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Content type of the body. Default `text/plain; charset=utf-8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The body, up to 64 KiB. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A change of the request's target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rewrite {
    /// Replaces the matched prefix; the rule's matches must all be prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Whole new path; the query is kept. Where the matches are regular expressions `$1` to
    /// `$9`, `${10}` and `${name}` stand for what their groups matched, in the client's own
    /// escapes, or for nothing where a group took no part; `$$` is a dollar sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The Host header that the backend sees. Default: the client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Changes to headers: removed first, then set, then added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeaderChanges {
    /// Names to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Values that replace any there are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Values added to any there are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
}

/// A backend of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteBackend {
    /// Name of the backend.
    pub name: String,
    /// Share of the requests, 0 to 1000000. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}
