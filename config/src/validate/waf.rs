//! WAF profiles.

use super::report::Report;
use crate::{
    document,
    model::{BodyOverLimit, BuiltinRules, WafProfile, WafRules},
};

const DEFAULT_THRESHOLD: u32 = 5;
const DEFAULT_BODY_LIMIT: u64 = 1 << 20;
const DEFAULT_RESPONSE_BODY_LIMIT: u64 = 512 << 10;

pub(super) fn profile(
    path: &str,
    profile: &document::WafProfile,
    report: &mut Report<'_>,
) -> WafProfile {
    if profile.threshold == Some(0) {
        report.error_hint(
            format!("{path}.threshold"),
            "a threshold of 0 refuses every request",
            "use 1 or more",
        );
    }
    for (field, size) in [
        ("bodyLimit", profile.body_limit),
        ("responseBodyLimit", profile.response_body_limit),
    ] {
        if size.is_some_and(|size| size.0 == 0) {
            report.error_hint(
                format!("{path}.{field}"),
                "a limit of 0 inspects no body",
                "use 1B or more",
            );
        }
    }
    let mut rules: Vec<WafRules> = Vec::new();
    for (index, source) in profile.rules.iter().enumerate() {
        rules.push(match source {
            document::WafRules::Builtin(builtin) => WafRules::Builtin(*builtin),
            document::WafRules::Inline(text) => WafRules::Inline(text.clone()),
            document::WafRules::File(file) => {
                let place = format!("{path}.rules[{index}].file");
                if file.is_empty() {
                    report.error(&place, "a file is missing");
                }
                WafRules::File(report.origins().resolve(&place, file))
            }
        });
    }
    if rules.is_empty() {
        rules.push(WafRules::Builtin(BuiltinRules::Baseline));
    }
    WafProfile {
        name: profile.name.clone(),
        mode: profile.mode.unwrap_or_default(),
        rules,
        threshold: profile.threshold.unwrap_or(DEFAULT_THRESHOLD),
        body_limit: profile.body_limit.map_or(DEFAULT_BODY_LIMIT, |size| size.0),
        over_limit: profile.over_limit.unwrap_or_default(),
        response_body_limit: profile
            .response_body_limit
            .map_or(DEFAULT_RESPONSE_BODY_LIMIT, |size| size.0),
        response_over_limit: profile
            .response_over_limit
            .unwrap_or(BodyOverLimit::InspectPrefix),
        buffers_spent: profile.buffers_spent.unwrap_or_default(),
    }
}
