//! Cross-origin requests of browsers (CORS).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// Which pages of other origins may use a route from a browser (Fetch, section
/// "CORS protocol"). Preflights are answered by the gateway, and what the backend
/// itself says in `Access-Control-*` is replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cors {
    /// Origins: `https://app.example.com`, `https://*.example.com` (one label or
    /// more, never the name itself), `http://localhost:3000`, or `*` for all.
    /// Without it, and without any other key, an inherited policy is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_origins: Option<Vec<String>>,
    /// Methods, or `*`. GET, HEAD and POST pass in any case, as in browsers.
    /// Default `[GET, HEAD, POST]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    /// Request headers, or `*`. Default: only those that browsers always allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<Vec<String>>,
    /// Response headers that the page may read, or `*`. Default: only those that
    /// browsers always show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    /// Whether requests may carry cookies and other credentials. Default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// How long a browser may remember the answer to a preflight. Default `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}
