//! Pages in place of the gateway's own error answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, StatusRange};

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
    /// A backend that is asked for the page, in place of a file. Where it gives none the next
    /// page with the status is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<ErrorPageBackend>,
    /// Content type of a file or body. Default `text/html; charset=utf-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// A backend that is asked for error pages.
///
/// It gets a GET with `X-Code`, the status; `X-Format`, what the client accepts;
/// `X-Original-URI`; `X-Service-Name`, the backend that was asked before; `X-Request-ID`;
/// and the host of the request. Up to 256 KiB of its answer, with status 2xx or that of
/// `X-Code`, are the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorPageBackend {
    /// Its name.
    pub name: String,
    /// Path, with a query where there is one. Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Time for the page, with all that is needed for it. Default `2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}
