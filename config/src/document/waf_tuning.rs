//! What a route changes of a WAF profile, and what both can say of its rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RuleIds, WafMode, WafRules};

/// The WAF on a route. It counts as a whole: nothing of it is inherited by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouteWaf {
    /// Name of the WAF profile; absent means no inspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Mode on this route. Default: that of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<WafMode>,
    /// Paranoia level that blocks, 1 to 4, where the profile has the CRS. Default: that
    /// of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paranoia_level: Option<u8>,
    /// Paranoia level up to which rules run and are recorded, 1 to 4, not below
    /// `paranoiaLevel`. Default: `paranoiaLevel`, or that of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection_paranoia_level: Option<u8>,
    /// Anomaly score at which a request is refused. Default: that of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
    /// Anomaly score at which a response is refused. Default: that of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_threshold: Option<u32>,
    /// Rules that do not count here, besides those that the profile excludes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<WafExclusion>,
    /// Rules before those of the profile: exclusions that look at the request, for one.
    /// `builtin` and `crs` are for profiles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<WafRules>,
    /// Rules behind those of the profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<WafRules>,
}

/// Rules that do not count, or do not look at some fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WafExclusion {
    /// Ids, as `942100`, or the first and last of some, as `942200-942299`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<RuleIds>,
    /// Tags, whole and in their case, as `attack-sqli`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the rules no longer look at, in SecLang: `ARGS:content`,
    /// `REQUEST_COOKIES:/^_ga/`, `REQUEST_HEADERS`. Default: the rules do not run at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// The OWASP Core Rule Set and what belongs to it. The rules that ModSecurity recommends
/// below it (bodies that cannot be read are refused) come along, and so do plugins, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CrsFiles {
    /// `crs-setup.conf`, or the example as it is published. Relative to the configuration file.
    pub setup: String,
    /// The folder `rules`.
    pub rules: String,
    /// The folder `plugins`: files that end in `-config.conf`, `-before.conf` and
    /// `-after.conf`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<String>,
}
