//! Who the clients of the egress proxy are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// How the egress proxy learns who a client is. Without this section it knows addresses alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressIdentity {
    /// What becomes of a client that shows neither a token nor a certificate. Default `required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<EgressIdentityLevel>,
    /// Tokens of ServiceAccounts, in `Proxy-Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_tokens: Option<ServiceAccountTokens>,
    /// The pods of the cluster that the gateway watches (`run --kubernetes`). A token is then
    /// good for as long as its pod is there, and an address is that of a pod. Default: pods are
    /// not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<EgressPods>,
}

/// How the pods of the cluster are known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressPods {
    /// How long what is known of pods counts while the API server is not reached; then every
    /// client is refused with 503. Default `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<Duration>,
}

/// What a client has to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EgressIdentityLevel {
    /// A client without a token is known by its address. One that shows a token must show a
    /// good one.
    None,
    /// A client is the pod that has its address, which `pods` tells; one that no pod has, or
    /// that pods share with their node, is refused with 403, unless a certificate says who it is.
    /// One that shows a token must show a good one, and is known by that.
    Address,
    /// A client without a token, and without a certificate that says who it is, is refused with
    /// 407, whatever its policy says.
    #[default]
    Required,
    /// A client without a token is refused with 407, and the pod that the token is bound to must
    /// have the client's address, which `pods` tells.
    BindToAddress,
}

/// Tokens of ServiceAccounts, verified without asking the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccountTokens {
    /// File with the public keys of the cluster as a JSON Web Key Set (RFC 7517), which
    /// `kubectl get --raw /openid/v1/jwks` writes. It is read again when it changes. Relative to
    /// the configuration file.
    pub jwks: String,
    /// Issuer of the tokens (`iss`), as `--service-account-issuer` of the API server.
    pub issuer: String,
    /// Audience that a token must be made for (`aud`), as the `audience` of a projected volume.
    /// One of its own: a token for the API server must be worth nothing here.
    pub audience: String,
    /// By how much clocks may differ, up to `5m`. Default `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Duration>,
}
