//! Who a client is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
