//! Canaries: a second version of what a rule leads to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A backend that gets some of a rule's requests: those that ask for it by a
/// header, else by a cookie, else a share. A header or cookie that says neither
/// yes nor no leaves it to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// Name of the backend.
    pub backend: String,
    /// A header that says so. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<CanaryHeader>,
    /// Name of a cookie that says so: `always` or `never`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Share of the other requests, out of `weightTotal`. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What `weight` is a share of, 1 to 1000000. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_total: Option<u32>,
}

/// A header that says whether a request is for the canary: `always` or `never`,
/// or one value, and then no other says anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryHeader {
    /// Header name, in any case.
    pub name: String,
    /// The value that asks for the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The whole of a value that asks for it matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}
