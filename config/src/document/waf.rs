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
    /// A SecLang file. Relative to the configuration file.
    File(String),
    /// SecLang text.
    Inline(String),
}

/// A rule set that ships with Portcullis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuiltinRules {
    /// The baseline: about 30 rules with anomaly scoring.
    Baseline,
}

/// What happens to a body that is larger than what is inspected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyOverLimit {
    /// Refuse the request with 413.
    #[default]
    Refuse,
    /// Inspect the first `bodyLimit` bytes and stream the rest.
    InspectPrefix,
    /// Do not inspect the body.
    Skip,
}
