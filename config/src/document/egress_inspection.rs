//! What the egress proxy needs to look into TLS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// How the egress proxy looks into TLS, for entries with `inspect`. Clients are shown certificates
/// that its own authority has signed, which they must trust.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressInspection {
    /// PEM file with the certificate of the authority, and those of its issuers behind it where it is
    /// not a root. Relative to the configuration file.
    pub certificate: String,
    /// PEM file with its private key (PKCS#8, PKCS#1 or SEC1).
    pub key: String,
    /// PEM file with authorities of destinations that are trusted beside those of the system.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// Certificates of hosts that are kept at once. Default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_certificates: Option<u32>,
    /// Life of a certificate of a host, from `10m` to `90d`; never longer than that of the authority.
    /// Default `1d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_lifetime: Option<Duration>,
    /// Requests of one HTTP/2 connection at once. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
}

/// How the egress proxy sends requests in clear over TLS, for entries with `originateTls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressTlsOrigination {
    /// PEM file with authorities of destinations that are trusted beside those of the system.
    /// Relative to the configuration file. Default: that of `inspection`, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
}

/// A credential that requests are given, which the workload never has. It goes to the destination
/// that has shown a certificate for its name, and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressInjection {
    /// The header that carries it.
    pub header: String,
    /// File with the credential, one line. Relative to the configuration file.
    pub value: String,
    /// What stands before it in the header, as `Bearer ` with its blank. Default: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// What is done with a request that has that header already. Default `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credential: Option<ClientCredential>,
}

/// What is done with a credential of a client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCredential {
    /// The request is refused: with a key of its own a client reaches an account of its own.
    #[default]
    Refuse,
    /// The credential of the configuration takes its place.
    Replace,
}
