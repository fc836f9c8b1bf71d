//! What routes and profiles set of WAF rules.

use super::{
    Names,
    policy::{Broken, Control, resolve},
    report::Report,
    waf::sources,
};
use crate::{
    document,
    model::{ExcludedRules, RouteWaf, WafExclusion, WafTuning},
};

/// The highest paranoia level of the CRS.
const MAX_LEVEL: u8 = 4;

/// The WAF of one place; `None` where it lifts an inherited one.
pub(super) fn route_waf(
    path: &str,
    wanted: &document::RouteWaf,
    names: &Names,
    report: &mut Report<'_>,
) -> Control<Option<RouteWaf>> {
    let Some(name) = &wanted.profile else {
        if *wanted == document::RouteWaf::default() {
            return Ok(None);
        }
        report.error_hint(
            path,
            "settings of a WAF without a profile",
            "name one with `profile:`",
        );
        return Err(Broken);
    };
    let list = ("wafProfiles", "WAF profile");
    let place = format!("{path}.profile");
    let profile = resolve(&place, list, name, &names.waf_profiles, report)?;
    let build = |report: &mut Report<'_>| {
        let tuning = tuning(
            path,
            (wanted.paranoia_level, wanted.detection_paranoia_level),
            (wanted.threshold, wanted.outbound_threshold),
            &wanted.exclusions,
            report,
        );
        let (level, detection) = (
            profile.tuning.paranoia_level,
            tuning.detection_paranoia_level,
        );
        if let (None, Some(level), Some(detection)) = (tuning.paranoia_level, level, detection)
            && detection < level
        {
            below(path, detection, level, report);
        }
        RouteWaf {
            profile: profile.name.clone(),
            mode: wanted.mode.unwrap_or(profile.mode),
            tuning,
            before: more(&format!("{path}.before"), &wanted.before, report),
            after: more(&format!("{path}.after"), &wanted.after, report),
        }
    };
    report.clean(build).map(Some).ok_or(Broken)
}

/// Rules beside those of a profile.
fn more(
    path: &str,
    wanted: &[document::WafRules],
    report: &mut Report<'_>,
) -> Vec<crate::model::WafRules> {
    for (index, rules) in wanted.iter().enumerate() {
        let whole = match rules {
            document::WafRules::Builtin(_) => "builtin",
            document::WafRules::Crs(_) => "crs",
            document::WafRules::File(_) | document::WafRules::Inline(_) => continue,
        };
        report.error_hint(
            format!("{path}[{index}].{whole}"),
            "a whole rule set belongs to a profile",
            "make a profile that has it, and name it with `profile:`",
        );
    }
    sources(path, wanted, report)
}

/// Judges levels (blocking, detection), thresholds (in, out) and exclusions of one place.
pub(super) fn tuning(
    path: &str,
    (paranoia_level, detection_paranoia_level): (Option<u8>, Option<u8>),
    (threshold, outbound_threshold): (Option<u32>, Option<u32>),
    exclusions: &[document::WafExclusion],
    report: &mut Report<'_>,
) -> WafTuning {
    let levels = [
        ("paranoiaLevel", paranoia_level),
        ("detectionParanoiaLevel", detection_paranoia_level),
    ];
    for (field, level) in levels {
        if let Some(level) = level.filter(|level| !(1..=MAX_LEVEL).contains(level)) {
            report.error_hint(
                format!("{path}.{field}"),
                format!("there is no paranoia level {level}"),
                format!("levels are 1 to {MAX_LEVEL}"),
            );
        }
    }
    if let (Some(level), Some(detection)) = (paranoia_level, detection_paranoia_level)
        && (1..level).contains(&detection)
        && level <= MAX_LEVEL
    {
        below(path, detection, level, report);
    }
    for (field, threshold, what) in [
        ("threshold", threshold, "request"),
        ("outboundThreshold", outbound_threshold, "response"),
    ] {
        if threshold == Some(0) {
            report.error_hint(
                format!("{path}.{field}"),
                format!("a threshold of 0 refuses every {what}"),
                "use 1 or more",
            );
        }
    }
    let exclusions = exclusions.iter().enumerate();
    WafTuning {
        paranoia_level,
        detection_paranoia_level,
        threshold,
        outbound_threshold,
        exclusions: exclusions
            .map(|(index, wanted)| {
                exclusion(&format!("{path}.exclusions[{index}]"), wanted, report)
            })
            .collect(),
    }
}

fn below(path: &str, detection: u8, level: u8, report: &mut Report<'_>) {
    report.error_hint(
        format!("{path}.detectionParanoiaLevel"),
        format!("rules up to level {level} block, and only those up to {detection} would run"),
        format!("use {level} or more"),
    );
}

fn exclusion(path: &str, wanted: &document::WafExclusion, report: &mut Report<'_>) -> WafExclusion {
    if wanted.ids.is_empty() && wanted.tags.is_empty() {
        report.error_hint(
            path,
            "an exclusion means no rule",
            "name rules with `ids:` or `tags:`",
        );
    }
    for (index, tag) in wanted.tags.iter().enumerate() {
        if tag.is_empty() || tag.contains(['"', '\\']) || tag.chars().any(char::is_control) {
            report.error(
                format!("{path}.tags[{index}]"),
                format!("{tag:?} is not a tag"),
            );
        }
    }
    for (index, target) in wanted.targets.iter().enumerate() {
        // What is more in it than one variable would be read as another part of a directive.
        let starts = target.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts || target.contains(['"', '|', ',']) || target.chars().any(char::is_control) {
            report.error_hint(
                format!("{path}.targets[{index}]"),
                format!("{target:?} is not one variable"),
                "write its name, and which of it where it has several, as ARGS:content",
            );
        }
    }
    let ids = wanted.ids.iter().copied().map(ExcludedRules::Ids);
    let tags = wanted.tags.iter().cloned().map(ExcludedRules::Tag);
    WafExclusion {
        rules: ids.chain(tags).collect(),
        targets: wanted.targets.clone(),
    }
}
