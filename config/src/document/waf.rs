//! WAF profiles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteSize;

/// A named set of WAF rules and how to apply it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WafProfile {
    /// Name, unique among the profiles.
    pub name: String,
    /// `block` or `detect`. Default `block`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<WafMode>,
    /// Rules in order. Default: the built-in baseline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<WafRules>,
    /// Anomaly score at which a request is refused by the baseline rules. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
    /// How much of a request body is inspected. Default `1MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<ByteSize>,
    /// What happens to a body over `bodyLimit`. Default `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_limit: Option<BodyOverLimit>,
    /// How much of a response body is inspected, where the rules say
    /// `SecResponseBodyAccess On`. Default `512KiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body_limit: Option<ByteSize>,
    /// What happens to a response body over `responseBodyLimit`, or in a coding that
    /// cannot be read. Default `inspect-prefix`: refused answers break downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_over_limit: Option<BodyOverLimit>,
    /// What happens to a body that is to be held while `process.maxBufferedBytes`
    /// is in use. Default `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffers_spent: Option<BuffersSpent>,
}

/// What happens to a body for which there is no memory left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuffersSpent {
    /// Refuse the request with 503.
    #[default]
    Refuse,
    /// Pass the body on without inspecting it.
    Skip,
}

/// Whether a WAF profile blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WafMode {
    /// Refuse what the rules deny.
    #[default]
    Block,
    /// Write the audit record and let pass.
    Detect,
}

/// Where rules come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum WafRules {
    /// A rule set that ships with Portcullis: `baseline`.
    Builtin(BuiltinRules),
    /// A SecLang file, or a folder of which every `*.conf` is taken, by name. Relative to
    /// the configuration file.
    File(String),
    /// SecLang text.
    Inline(String),
}

/// A rule set that ships with Portcullis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuiltinRules {
    /// The baseline: about 130 rules with anomaly scoring.
    Baseline,
}

/// What happens to a body that is larger than what is inspected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyOverLimit {
    /// Refuse a request with 413, a response with 502.
    #[default]
    Refuse,
    /// Inspect the bytes up to the limit and stream the rest.
    InspectPrefix,
    /// Do not inspect the body.
    Skip,
}
