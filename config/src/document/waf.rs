//! WAF profiles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, CrsFiles, WafExclusion, WafLimits};

/// A named set of WAF rules and how to apply it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Paranoia level that blocks, 1 to 4, where the rules are the CRS. Default: what the
    /// rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paranoia_level: Option<u8>,
    /// Paranoia level up to which rules run and are recorded, 1 to 4, not below
    /// `paranoiaLevel`. Default: `paranoiaLevel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_paranoia_level: Option<u8>,
    /// Anomaly score at which a request is refused. Default: what the rules say, which is
    /// 5 in the baseline and in the CRS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
    /// Anomaly score at which a response is refused. Default: what the rules say, which is
    /// 4 in the CRS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound_threshold: Option<u32>,
    /// Rules that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<WafExclusion>,
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
    /// How many times its length a request body with a content coding may have when it is
    /// decoded for the rules; more is over `bodyLimit`. Up to 64 KiB pass at any ratio. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_decoding_ratio: Option<u32>,
    /// What happens to a request body whose content coding is not known, or broken. Default `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecodable: Option<UndecodableBody>,
    /// What happens to a body that is to be held while `process.maxBufferedBytes`
    /// is in use. Default `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffers_spent: Option<BuffersSpent>,
    /// What one transaction may hold and compute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<WafLimits>,
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
    /// A rule set that ships with Portcullis: `baseline`, `recommended`.
    Builtin(BuiltinRules),
    /// The OWASP Core Rule Set, with its setup and plugins.
    Crs(CrsFiles),
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
    /// What ModSecurity's recommended configuration has below a rule set: bodies are parsed by
    /// their content type, and those that cannot be are refused. Ids 200000 to 200007.
    Recommended,
}

/// What happens to a request body whose content coding cannot be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UndecodableBody {
    /// Refuse the request: 415 for a coding that is not known, 400 for a broken one.
    #[default]
    Refuse,
    /// Inspect the bytes as they came; rules see a body error.
    InspectEncoded,
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
