//! Who a client is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// A named way to find out who a client is, used by `policies.authentication`.
/// It has one of `basic` and `external`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// Name, unique among the authentications.
    pub name: String,
    /// By name and password (RFC 7617).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuthentication>,
    /// By asking a server whether the request may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalAuthentication>,
    /// What becomes of a CORS preflight, which never carries credentials. Default `pass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
}

/// Names and passwords of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuthentication {
    /// File of `name:hash` lines as `htpasswd` writes them, read again when it changes:
    /// bcrypt, SHA-crypt (`$5$`, `$6$`), `$apr1$`, `$1$`, `{SHA}` and `{SSHA}`.
    /// Relative to the configuration file.
    pub users: String,
    /// What the client is told that the password is for. Default `Restricted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Header by which the backend is told the name; that of a client is removed. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_header: Option<String>,
    /// Whether the backend gets the client's `Authorization`. Default false: who
    /// checks no password needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_credentials: Option<bool>,
}

/// A server that is asked about each request, by a request of its own without a body.
///
/// 2xx lets the request pass; 401 and 403 refuse it; any other answer, and none,
/// refuse it as well, with 500 and 503.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalAuthentication {
    /// Name of the backend that is asked.
    pub backend: String,
    /// Path that is asked for, with its query.
    pub path: String,
    /// Host that is asked for. Default: the one that the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Method of the question. Default `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers of the client that are sent with the question. Default: all but those
    /// of its connection, its body, ranges and conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<Vec<String>>,
    /// Headers of a 2xx answer that the backend gets; those of a client are removed.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<String>,
    /// Header of a 2xx answer with the client's name, for the access log. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_header: Option<String>,
    /// Where a browser is sent on 401: a URL, or a path of the same host. `{url}` in it
    /// stands for the URL that was asked for, `{path}` for its path and query, both
    /// escaped. Default: 401 is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<String>,
    /// Time for the whole answer; then 503. Default `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Which answers are remembered. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<AnswerCache>,
}

/// Answers that are remembered, in each gateway process, until a reload changes the
/// authentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AnswerCache {
    /// How long a 2xx counts. Default `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    /// How long a 401 counts. Default `0`: it is not remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_time: Option<Duration>,
    /// For whom an answer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<AnswerKey>,
    /// Answers remembered at once; beyond that those seldom asked for are forgotten.
    /// Default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<u32>,
}

/// What two requests must have in common to get one answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AnswerKey {
    /// Headers, at least the credentials. Default: all that are sent with the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<String>>,
    /// The method. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<bool>,
    /// Scheme, host and port. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<bool>,
    /// The path with its query. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<bool>,
    /// The client address. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<bool>,
}

/// What becomes of a CORS preflight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preflight {
    /// An `OPTIONS` with `Origin` and `Access-Control-Request-Method`, and without a
    /// body, passes without credentials: browsers send none with it.
    #[default]
    Pass,
    /// It needs credentials as any other request.
    Authenticate,
}

/// Whether a client must pass the access lists and the authentications, or one of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Satisfy {
    /// Both.
    #[default]
    All,
    /// An address on `allow` of every access list that has one passes without
    /// authentication, and so does any other that authenticates. `deny` still denies.
    Any,
}
