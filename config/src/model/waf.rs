//! WAF profiles.

use std::path::PathBuf;

use super::WafLimits;

pub use crate::document::{
    BodyOverLimit, BuffersSpent, BuiltinRules, RuleIds, UndecodableBody, WafMode,
};

/// A WAF profile; the gateway compiles its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WafProfile {
    /// Unique name.
    pub name: String,
    /// Mode where a route does not say.
    pub mode: WafMode,
    /// Rules in order; never empty.
    pub rules: Vec<WafRules>,
    /// What is set of its rules, and which do not count.
    pub tuning: WafTuning,
    /// Bytes of a body that are inspected.
    pub body_limit: u64,
    /// What happens to a larger body.
    pub over_limit: BodyOverLimit,
    /// Bytes of a response body that are inspected.
    pub response_body_limit: u64,
    /// What happens to a larger response body.
    pub response_over_limit: BodyOverLimit,
    /// How many times its length a decoded request body may have.
    pub max_decoding_ratio: u32,
    /// What happens to a request body whose coding cannot be undone.
    pub undecodable: UndecodableBody,
    /// What happens to a body for which there is no memory left.
    pub buffers_spent: BuffersSpent,
    /// What one transaction may hold and compute.
    pub limits: WafLimits,
}

/// The WAF on a rule of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteWaf {
    /// Name of the profile.
    pub profile: String,
    /// Mode here.
    pub mode: WafMode,
    /// What is set here; the profile has the rest.
    pub tuning: WafTuning,
    /// Rules before those of the profile.
    pub before: Vec<WafRules>,
    /// Rules behind those of the profile.
    pub after: Vec<WafRules>,
}

/// What is set of rules, and which do not count. `None` is what the rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WafTuning {
    /// Paranoia level that blocks.
    pub paranoia_level: Option<u8>,
    /// Paranoia level up to which rules run.
    pub detection_paranoia_level: Option<u8>,
    /// Anomaly score at which a request is refused.
    pub threshold: Option<u32>,
    /// Anomaly score at which a response is refused.
    pub outbound_threshold: Option<u32>,
    /// Rules that do not count.
    pub exclusions: Vec<WafExclusion>,
}

/// Rules that do not count, or do not look at some fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WafExclusion {
    /// The rules; never empty.
    pub rules: Vec<ExcludedRules>,
    /// What they do not look at, in SecLang; empty where they do not run at all.
    pub targets: Vec<String>,
}

/// Rules that an exclusion means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExcludedRules {
    /// By id.
    Ids(RuleIds),
    /// By a whole tag.
    Tag(String),
}

impl WafTuning {
    /// What holds on a route that sets this, of a profile that sets the other. Exclusions
    /// of the profile come first.
    pub fn over(&self, profile: &Self) -> Self {
        let level = self.paranoia_level.or(profile.paranoia_level);
        let detection = self.detection_paranoia_level.or(self.paranoia_level);
        let exclusions = profile.exclusions.iter().chain(&self.exclusions);
        Self {
            paranoia_level: level,
            detection_paranoia_level: detection.or(profile.detection_paranoia_level),
            threshold: self.threshold.or(profile.threshold),
            outbound_threshold: self.outbound_threshold.or(profile.outbound_threshold),
            exclusions: exclusions.cloned().collect(),
        }
    }
}

/// Where rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WafRules {
    /// Ships with Portcullis.
    Builtin(BuiltinRules),
    /// A SecLang file, or a folder of them.
    File(PathBuf),
    /// The OWASP Core Rule Set.
    Crs(CrsFiles),
    /// SecLang text.
    Inline(String),
}

/// Where the OWASP Core Rule Set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrsFiles {
    /// Its setup file.
    pub setup: PathBuf,
    /// The folder of its rules.
    pub rules: PathBuf,
    /// The folder of its plugins.
    pub plugins: Option<PathBuf>,
}

impl WafRules {
    /// Files and folders that it names.
    pub fn files(&self) -> Vec<&PathBuf> {
        match self {
            Self::Builtin(_) | Self::Inline(_) => Vec::new(),
            Self::File(path) => vec![path],
            Self::Crs(crs) => [&crs.setup, &crs.rules]
                .into_iter()
                .chain(&crs.plugins)
                .collect(),
        }
    }
}
