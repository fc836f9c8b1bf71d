//! WAF profiles.

use std::path::PathBuf;

pub use crate::document::{BodyOverLimit, BuffersSpent, BuiltinRules, WafMode};

/// A WAF profile; the gateway compiles its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WafProfile {
    /// Unique name.
    pub name: String,
    /// Mode where a route does not say.
    pub mode: WafMode,
    /// Rules in order; never empty.
    pub rules: Vec<WafRules>,
    /// Anomaly score at which the baseline refuses.
    pub threshold: u32,
    /// Bytes of a body that are inspected.
    pub body_limit: u64,
    /// What happens to a larger body.
    pub over_limit: BodyOverLimit,
    /// Bytes of a response body that are inspected.
    pub response_body_limit: u64,
    /// What happens to a larger response body.
    pub response_over_limit: BodyOverLimit,
    /// What happens to a body for which there is no memory left.
    pub buffers_spent: BuffersSpent,
}

/// Where rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WafRules {
    /// Ships with Portcullis.
    Builtin(BuiltinRules),
    /// A SecLang file.
    File(PathBuf),
    /// SecLang text.
    Inline(String),
}
