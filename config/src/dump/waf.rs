//! WAF profiles, and the WAF of a rule, with every default said.

use std::path::Path;

use crate::{
    document::{
        BuiltinRules, ByteSize, CrsFiles, RouteWaf, WafExclusion, WafLimits, WafMode, WafProfile,
        WafRules,
    },
    model,
};

pub(super) fn fill_waf_profile(profile: &mut WafProfile, meant: &model::WafProfile) {
    profile.mode.get_or_insert(WafMode::default());
    if profile.rules.is_empty() {
        profile
            .rules
            .push(WafRules::Builtin(BuiltinRules::Baseline));
    }
    let detection = meant.tuning.detection_paranoia_level;
    profile.detection_paranoia_level = detection.or(meant.tuning.paranoia_level);
    profile.body_limit.get_or_insert(ByteSize(meant.body_limit));
    profile.over_limit.get_or_insert(meant.over_limit);
    profile
        .response_body_limit
        .get_or_insert(ByteSize(meant.response_body_limit));
    profile
        .response_over_limit
        .get_or_insert(meant.response_over_limit);
    profile
        .max_decoding_ratio
        .get_or_insert(meant.max_decoding_ratio);
    profile.undecodable.get_or_insert(meant.undecodable);
    profile.buffers_spent.get_or_insert(meant.buffers_spent);
    profile.limits = Some(limits(&meant.limits));
}

fn limits(meant: &model::WafLimits) -> WafLimits {
    WafLimits {
        max_arguments: Some(meant.max_arguments),
        max_headers: Some(meant.max_headers),
        max_cookies: Some(meant.max_cookies),
        max_json_depth: Some(meant.max_json_depth),
        max_json_names: Some(ByteSize(meant.max_json_names)),
        max_xml_depth: Some(meant.max_xml_depth),
        max_xml_attributes: Some(meant.max_xml_attributes),
        max_parts: Some(meant.max_parts),
        max_files: Some(meant.max_files),
        max_matches: Some(meant.max_matches),
        max_tx_variables: Some(meant.max_tx_variables),
        max_work: Some(ByteSize(meant.max_work)),
        max_audit_matches: Some(meant.max_audit_matches),
        max_audit_text: Some(ByteSize(meant.max_audit_text)),
    }
}

/// What a rule sets; the profile is said by itself.
pub(super) fn route_waf(meant: &model::RouteWaf) -> RouteWaf {
    let tuning = &meant.tuning;
    RouteWaf {
        profile: Some(meant.profile.clone()),
        mode: Some(meant.mode),
        paranoia_level: tuning.paranoia_level,
        detection_paranoia_level: tuning.detection_paranoia_level.or(tuning.paranoia_level),
        threshold: tuning.threshold,
        outbound_threshold: tuning.outbound_threshold,
        exclusions: tuning.exclusions.iter().map(exclusion).collect(),
        before: meant.before.iter().map(rules).collect(),
        after: meant.after.iter().map(rules).collect(),
    }
}

fn exclusion(meant: &model::WafExclusion) -> WafExclusion {
    let mut written = WafExclusion {
        targets: meant.targets.clone(),
        ..WafExclusion::default()
    };
    for rules in &meant.rules {
        match rules {
            model::ExcludedRules::Ids(ids) => written.ids.push(*ids),
            model::ExcludedRules::Tag(tag) => written.tags.push(tag.clone()),
        }
    }
    written
}

fn rules(meant: &model::WafRules) -> WafRules {
    let text = |path: &Path| path.display().to_string();
    match meant {
        model::WafRules::Builtin(builtin) => WafRules::Builtin(*builtin),
        model::WafRules::File(path) => WafRules::File(text(path)),
        model::WafRules::Inline(text) => WafRules::Inline(text.clone()),
        model::WafRules::Crs(crs) => WafRules::Crs(CrsFiles {
            setup: text(&crs.setup),
            rules: text(&crs.rules),
            plugins: crs.plugins.as_deref().map(text),
        }),
    }
}
