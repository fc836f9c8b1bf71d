//! Pages in place of the gateway's own error answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StatusRange;

/// A named set of error pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorPages {
    /// Name, unique among the sets.
    pub name: String,
    /// The pages; the first with the status, and of a type that the client accepts, is taken.
    pub pages: Vec<ErrorPage>,
    /// Whether answers of backends with these statuses are replaced too. Default
    /// false: only the gateway's own are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub intercept: bool,
}

/// The page for some statuses. It changes what people read, never the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorPage {
    /// Statuses, 400 to 599, as `404` or `500-504`.
    pub statuses: Vec<StatusRange>,
    /// File with the page, UTF-8, up to 256 KiB. Relative to the configuration file.
    /// `${status}`, `${error}` and `${requestId}` in it are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The page itself, in place of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Content type. Default `text/html; charset=utf-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}
