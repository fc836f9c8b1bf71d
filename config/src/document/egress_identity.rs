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
    /// client is refused with 503. For so long a new pod may be taken for the one that had its
    /// address, where an address is enough. Default `10m`.
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

/// Tokens of ServiceAccounts, verified with the keys of the cluster (`jwks`), or by its API server
/// (`tokenReview`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccountTokens {
    /// File with the public keys of the cluster as a JSON Web Key Set (RFC 7517), which
    /// `kubectl get --raw /openid/v1/jwks` writes. It is read again when it changes. Relative to
    /// the configuration file. Nobody is asked then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// In place of `jwks`: the API server of the cluster that the gateway watches
    /// (`run --kubernetes`) says of each token whether it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_review: Option<TokenReview>,
    /// Issuer of the tokens (`iss`), as `--service-account-issuer` of the API server. With
    /// `tokenReview` it may be left out: then it is for the API server to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Audience that a token must be made for (`aud`), as the `audience` of a projected volume.
    /// One of its own: a token for the API server must be worth nothing here.
    pub audience: String,
    /// By how much clocks may differ, up to `5m`. Default `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Duration>,
}

/// How the API server is asked about tokens (`authentication.k8s.io/v1`, TokenReview).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TokenReview {
    /// Time until a token has its answer, waiting for a turn included; then its client is refused
    /// with 503. Up to `1m`. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Questions at once, 1 to 1000. Tokens that were not good before have half of them. Default
    /// 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Answers that are remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<ReviewCache>,
}

/// How long what the API server said of a token counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReviewCache {
    /// How long a good token is not asked about again, up to `5m`, and never longer than the
    /// token is good. `0s` asks each time. Default `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    /// The same for a token that is not good, up to `time`. Default `2s`, or `time` where that is
    /// less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_time: Option<Duration>,
    /// Tokens of either kind that are remembered at once, 1 to 1000000; beyond that those seldom
    /// asked for are forgotten. Default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<u32>,
}
