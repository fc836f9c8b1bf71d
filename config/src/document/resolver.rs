//! Looking up the names of endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// How endpoints of backends are looked up that are named and not addressed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resolver {
    /// Addresses with port of DNS servers. Default: those of the system, with its
    /// search domains and its hosts file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Time for a look-up with all its attempts. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// An answer is kept for as long as it says, and for this at least. Default `1s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ttl: Option<Duration>,
    /// And for this at most. Default `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Duration>,
}
