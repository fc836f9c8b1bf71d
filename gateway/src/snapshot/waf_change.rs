//! A tuning as a change of a rule set, and what the engine says of it at its place in the
//! configuration.
//!
//! ```text
//! levels, thresholds --> variables \
//! exclusions ----------> SecLang   --> Change --engine--> rule set
//! before, after -------> texts     /                  \--> problems with their places
//! ```

use std::sync::Arc;

use portcullis_config::{
    model::{ExcludedRules, WafTuning},
    problem::Severity,
};
use portcullis_waf::{Change, RuleError, RuleSet, RuleText};

use super::{Live, Reads, rule_sets::Numbered};

/// Name of the text that exclusions are written in, a line each.
const EXCLUSIONS: &str = "exclusions";

/// Tells of a problem: how bad it is, where, and what.
pub(super) type Tell<'a> = dyn FnMut(Severity, String, String) + 'a;

/// A change of a rule set.
pub(super) struct Wanted<'a> {
    pub(super) place: &'a str,
    pub(super) tuning: &'a WafTuning,
    /// How many of its exclusions are of the profile, which has told of them.
    pub(super) told: usize,
    pub(super) before: Vec<RuleText>,
    pub(super) after: Vec<RuleText>,
}

/// A line of the text of exclusions.
struct Exclusion<'a> {
    index: usize,
    rules: &'a ExcludedRules,
}

impl Wanted<'_> {
    /// Makes the rule set, and tells of every problem at its place.
    pub(super) fn change(
        self,
        base: &Numbered,
        live: &Live,
        reads: &Reads,
        tell: &mut Tell<'_>,
    ) -> Option<Arc<RuleSet>> {
        let settings = settings(self.tuning);
        let values: Vec<(&str, u64)> = settings
            .iter()
            .map(|(_, name, value)| (*name, *value))
            .collect();
        let (text, lines) = exclusions(self.tuning);
        let mut after = self.after.clone();
        if !lines.is_empty() {
            after.push(RuleText {
                name: EXCLUSIONS.into(),
                text,
            });
        }
        let change = Change {
            before: &self.before,
            settings: &values,
            after: &after,
        };
        match live.rule_sets.change(base, &change, reads) {
            Ok(set) => {
                for warning in set.warnings() {
                    self.say(Severity::Warning, warning, &settings, &lines, tell);
                }
                Some(set)
            }
            Err(errors) => {
                for error in &errors {
                    self.say(Severity::Error, error, &settings, &lines, tell);
                }
                None
            }
        }
    }

    /// Says at the place of the configuration what the engine says of a text.
    fn say(
        &self,
        severity: Severity,
        error: &RuleError,
        settings: &[(&str, &str, u64)],
        lines: &[Exclusion<'_>],
        tell: &mut Tell<'_>,
    ) {
        let place = self.place;
        match &*error.file {
            EXCLUSIONS => {
                let line = (error.line as usize).checked_sub(1);
                let Some(line) = line.and_then(|line| lines.get(line)) else {
                    return;
                };
                let Some(index) = line.index.checked_sub(self.told) else {
                    return;
                };
                let reason = match (severity, line.rules) {
                    (Severity::Error, _) => error.message.clone(),
                    (_, ExcludedRules::Ids(ids)) if ids.first == ids.last => {
                        format!("no rule of the profile has the id {ids}: nothing is excluded")
                    }
                    (_, ExcludedRules::Ids(ids)) => {
                        format!("no rule of the profile has an id of {ids}: nothing is excluded")
                    }
                    (_, ExcludedRules::Tag(tag)) => {
                        format!("no rule of the profile has the tag {tag}: nothing is excluded")
                    }
                };
                tell(severity, format!("{place}.exclusions[{index}]"), reason);
            }
            // The only text without a file or name of its own.
            "settings" => {
                let named = |name: &str| error.message.contains(&format!("tx.{name} "));
                let field = settings.iter().find(|(_, name, _)| named(name));
                let (field, name) = field.map_or(("", ""), |(field, name, _)| (*field, *name));
                let reason = format!(
                    "the rules of the profile do not ask for tx.{name}, so it would have no effect"
                );
                tell(severity, format!("{place}.{field}"), reason);
            }
            file if file.starts_with(place) => tell(severity, file.into(), error.to_string()),
            file => {
                let is_before = self.before.iter().any(|text| text.name == file);
                let field = if is_before { "before" } else { "after" };
                tell(severity, format!("{place}.{field}"), error.to_string());
            }
        }
    }
}

/// The variables that a tuning sets: field of the configuration, name, value.
fn settings(tuning: &WafTuning) -> Vec<(&'static str, &'static str, u64)> {
    let (level, detection) = (tuning.paranoia_level, tuning.detection_paranoia_level);
    let all = [
        (
            "paranoiaLevel",
            "blocking_paranoia_level",
            level.map(u64::from),
        ),
        (
            "detectionParanoiaLevel",
            "detection_paranoia_level",
            detection.or(level).map(u64::from),
        ),
        (
            "threshold",
            "inbound_anomaly_score_threshold",
            tuning.threshold.map(u64::from),
        ),
        (
            "outboundThreshold",
            "outbound_anomaly_score_threshold",
            tuning.outbound_threshold.map(u64::from),
        ),
    ];
    all.into_iter()
        .filter_map(|(field, name, value)| Some((field, name, value?)))
        .collect()
}

/// Exclusions as SecLang, a line for each id, range or tag, and what stands in each line.
fn exclusions(tuning: &WafTuning) -> (String, Vec<Exclusion<'_>>) {
    let (mut text, mut lines) = (String::new(), Vec::new());
    for (index, exclusion) in tuning.exclusions.iter().enumerate() {
        for rules in &exclusion.rules {
            let (by, rules_text) = match rules {
                ExcludedRules::Ids(ids) => ("ById", ids.to_string()),
                ExcludedRules::Tag(tag) => ("ByTag", format!("\"^{}$\"", escaped(tag))),
            };
            if exclusion.targets.is_empty() {
                text.push_str(&format!("SecRuleRemove{by} {rules_text}\n"));
            } else {
                let targets: Vec<String> = exclusion
                    .targets
                    .iter()
                    .map(|target| format!("!{target}"))
                    .collect();
                let targets = targets.join("|");
                text.push_str(&format!(
                    "SecRuleUpdateTarget{by} {rules_text} \"{targets}\"\n"
                ));
            }
            lines.push(Exclusion { index, rules });
        }
    }
    (text, lines)
}

/// A text as a regular expression that is only this text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>' | '_' | '/' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use portcullis_config::model::{RuleIds, WafExclusion};

    use super::*;

    #[test]
    fn exclusions_are_seclang_a_line_each() {
        let exclusion = |rules: &[ExcludedRules], targets: &[&str]| WafExclusion {
            rules: rules.to_vec(),
            targets: targets.iter().map(ToString::to_string).collect(),
        };
        let ids = |first, last| ExcludedRules::Ids(RuleIds { first, last });
        let tag = |tag: &str| ExcludedRules::Tag(tag.into());
        let tuning = WafTuning {
            exclusions: vec![
                exclusion(&[ids(1, 1), ids(2, 9), tag("attack-sqli/a.b")], &[]),
                exclusion(
                    &[ids(3, 3), tag("x (y)")],
                    &["ARGS:a", "REQUEST_COOKIES:/^_ga/"],
                ),
            ],
            ..WafTuning::default()
        };
        let (text, lines) = exclusions(&tuning);
        let expected = "SecRuleRemoveById 1\n\
            SecRuleRemoveById 2-9\n\
            SecRuleRemoveByTag \"^attack-sqli/a\\.b$\"\n\
            SecRuleUpdateTargetById 3 \"!ARGS:a|!REQUEST_COOKIES:/^_ga/\"\n\
            SecRuleUpdateTargetByTag \"^x \\(y\\)$\" \"!ARGS:a|!REQUEST_COOKIES:/^_ga/\"\n";
        assert_eq!(text, expected);
        let indices: Vec<usize> = lines.iter().map(|line| line.index).collect();
        assert_eq!(indices, [0, 0, 0, 1, 1]);
        // Each is understood, and what is escaped is a pattern.
        let rules = RuleText {
            name: "rules".into(),
            text: "SecAction \"id:3,pass,tag:'x (y)',tag:attack-sqli/a.b\"".into(),
        };
        let rules = RuleSet::compile(&[rules], &portcullis_waf::NoFiles).unwrap();
        let after = [RuleText {
            name: EXCLUSIONS.into(),
            text,
        }];
        let change = Change {
            after: &after,
            ..Change::default()
        };
        let changed = rules.change(&change, &portcullis_waf::NoFiles).unwrap();
        assert!(changed.is_empty());
    }
}
