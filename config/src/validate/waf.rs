//! WAF profiles.

use super::{report::Report, waf_limits::limits, waf_tuning::tuning};
use crate::{
    document,
    model::{BodyOverLimit, BuiltinRules, CrsFiles, WafProfile, WafRules},
};

const DEFAULT_DECODING_RATIO: u32 = 100;
const DEFAULT_BODY_LIMIT: u64 = 1 << 20;
const DEFAULT_RESPONSE_BODY_LIMIT: u64 = 512 << 10;

pub(super) fn profile(
    path: &str,
    profile: &document::WafProfile,
    report: &mut Report<'_>,
) -> WafProfile {
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
    if profile.max_decoding_ratio == Some(0) {
        report.error_hint(
            format!("{path}.maxDecodingRatio"),
            "a ratio of 0 lets no body be decoded",
            "use 1 or more",
        );
    }
    let tuning = tuning(
        path,
        (profile.paranoia_level, profile.detection_paranoia_level),
        (profile.threshold, profile.outbound_threshold),
        &profile.exclusions,
        report,
    );
    let mut rules = sources(&format!("{path}.rules"), &profile.rules, report);
    if rules.is_empty() {
        rules.push(WafRules::Builtin(BuiltinRules::Baseline));
    }
    WafProfile {
        name: profile.name.clone(),
        mode: profile.mode.unwrap_or_default(),
        rules,
        tuning,
        body_limit: profile.body_limit.map_or(DEFAULT_BODY_LIMIT, |size| size.0),
        over_limit: profile.over_limit.unwrap_or_default(),
        response_body_limit: profile
            .response_body_limit
            .map_or(DEFAULT_RESPONSE_BODY_LIMIT, |size| size.0),
        response_over_limit: profile
            .response_over_limit
            .unwrap_or(BodyOverLimit::InspectPrefix),
        max_decoding_ratio: profile.max_decoding_ratio.unwrap_or(DEFAULT_DECODING_RATIO),
        undecodable: profile.undecodable.unwrap_or_default(),
        buffers_spent: profile.buffers_spent.unwrap_or_default(),
        limits: limits(path, profile.limits.as_ref(), report),
    }
}

/// The rules of one place, in order.
pub(super) fn sources(
    path: &str,
    wanted: &[document::WafRules],
    report: &mut Report<'_>,
) -> Vec<WafRules> {
    let mut file = |place: String, file: &str| {
        if file.is_empty() {
            report.error(&place, "a file is missing");
        }
        report.origins().resolve(&place, file)
    };
    let sources = wanted.iter().enumerate().map(|(index, source)| {
        let place = |field: &str| format!("{path}[{index}].{field}");
        match source {
            document::WafRules::Builtin(builtin) => WafRules::Builtin(*builtin),
            document::WafRules::Inline(text) => WafRules::Inline(text.clone()),
            document::WafRules::File(name) => WafRules::File(file(place("file"), name)),
            document::WafRules::Crs(crs) => WafRules::Crs(CrsFiles {
                setup: file(place("crs.setup"), &crs.setup),
                rules: file(place("crs.rules"), &crs.rules),
                plugins: crs
                    .plugins
                    .as_ref()
                    .map(|plugins| file(place("crs.plugins"), plugins)),
            }),
        }
    });
    sources.collect()
}
