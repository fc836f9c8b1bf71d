//! What profiles and routes make of rule sets, and what is to be said about it.
//!
//! ```text
//! profile --its rules--> base --its tuning--> rule set of the profile
//!                          \-----tuning of profile and route, rules before and after--> that of the route
//! ```
//!
//! Both changes begin with the base, which they share all but what they change with.

use std::{collections::HashMap, sync::Arc};

use portcullis_config::{
    document::{Document, Policies},
    model::{ExcludedRules, Model, RouteWaf, WafMode, WafProfile, WafRules, WafTuning},
    problem::Severity,
};
use portcullis_waf::{Change, EngineMode, RuleError, RuleSet, RuleText};

use super::{
    CompiledWaf, Live, Reads,
    rule_sets::{Numbered, texts},
};

/// Name of the text that exclusions are written in, a line each.
const EXCLUSIONS: &str = "exclusions";

/// Tells of a problem: how bad it is, where, and what.
pub(super) type Tell<'a> = dyn FnMut(Severity, String, String) + 'a;

/// The rule sets of a model.
#[derive(Default)]
pub(super) struct WafRuleSets {
    /// Of profiles by name: the rules as they are, and as the profile changes them.
    profiles: HashMap<String, (Numbered, Arc<RuleSet>)>,
    /// Of routes, by the place that changes a profile; `None` where it has an error.
    routes: HashMap<String, Option<Arc<RuleSet>>>,
}

impl WafRuleSets {
    /// Compiles all, and tells of every problem.
    pub(super) fn compile(
        document: &Document,
        model: &Model,
        live: &Live,
        reads: &Reads,
        tell: &mut Tell<'_>,
    ) -> Self {
        let mut sets = Self::default();
        for (index, profile) in model.waf_profiles.iter().enumerate() {
            let place = format!("wafProfiles[{index}]");
            if let Some(compiled) = compile_profile(profile, &place, live, reads, tell) {
                sets.profiles.insert(profile.name.clone(), compiled);
            }
        }
        for (rule, waf) in wafs(model) {
            // Rules that inherit from one place share what it says.
            let place = place(document, rule);
            if sets.routes.contains_key(&place) || !changes(waf) {
                continue;
            }
            let profile = profile(model, waf);
            let base = sets.profiles.get(&waf.profile).map(|(base, _)| base);
            // Where the profile has an error, that is told.
            let (Some(profile), Some(base)) = (profile, base) else {
                continue;
            };
            let set = compile_route((waf, &place), profile, base, live, reads, tell);
            sets.routes.insert(place, set);
        }
        sets
    }

    /// What a rule has, by the number of its route and its own.
    pub(super) fn of(
        &self,
        (rule, waf): ((usize, usize), &RouteWaf),
        document: &Document,
        model: &Model,
        live: &Live,
    ) -> Option<CompiledWaf> {
        let rules = match changes(waf) {
            true => self.routes.get(&place(document, rule))?.as_ref()?,
            false => &self.profiles.get(&waf.profile)?.1,
        };
        Some(CompiledWaf {
            profile: Arc::clone(profile(model, waf)?),
            rules: Arc::clone(rules),
            collections: live.collections(&waf.profile),
            mode: match waf.mode {
                WafMode::Block => EngineMode::On,
                WafMode::Detect => EngineMode::DetectionOnly,
            },
        })
    }

    /// Every set, so that the next snapshot finds it.
    pub(super) fn into_all(self) -> Vec<Arc<RuleSet>> {
        let profiles = self.profiles.into_values();
        profiles
            .flat_map(|(base, set)| [base.set, set])
            .chain(self.routes.into_values().flatten())
            .collect()
    }
}

/// The WAF of each rule that has one, by the number of its route and its own.
fn wafs(model: &Model) -> impl Iterator<Item = ((usize, usize), &RouteWaf)> {
    let routes = model.routes.iter().enumerate();
    routes.flat_map(|(route, wanted)| {
        let rules = wanted.rules.iter().enumerate();
        rules.filter_map(move |(rule, (_, wanted))| {
            Some(((route, rule), wanted.policies.waf.as_deref()?))
        })
    })
}

/// Where what a rule has of a WAF is written: with the rule, its route or the defaults.
fn place(document: &Document, (route, rule): (usize, usize)) -> String {
    let wanted = document.routes.get(route);
    let of_rule = wanted.and_then(|route| route.rules.get(rule)?.policies.as_ref());
    let of_route = wanted.and_then(|route| route.policies.as_ref());
    let has = |policies: &Policies| policies.waf.is_some();
    if of_rule.is_some_and(has) {
        format!("routes[{route}].rules[{rule}].policies.waf")
    } else if of_route.is_some_and(has) {
        format!("routes[{route}].policies.waf")
    } else {
        "defaults.waf".to_owned()
    }
}

fn profile<'m>(model: &'m Model, waf: &RouteWaf) -> Option<&'m Arc<WafProfile>> {
    let mut profiles = model.waf_profiles.iter();
    profiles.find(|profile| profile.name == waf.profile)
}

/// Whether a route has rules other than its profile.
fn changes(waf: &RouteWaf) -> bool {
    waf.tuning != WafTuning::default() || !waf.before.is_empty() || !waf.after.is_empty()
}

fn compile_profile(
    profile: &WafProfile,
    place: &str,
    live: &Live,
    reads: &Reads,
    tell: &mut Tell<'_>,
) -> Option<(Numbered, Arc<RuleSet>)> {
    let rules = format!("{place}.rules");
    let base = match live.rule_sets.compile(profile, reads) {
        Ok(base) => base,
        Err(reasons) => {
            for reason in reasons {
                tell(Severity::Error, rules.clone(), reason);
            }
            return None;
        }
    };
    for reason in warnings(profile.mode, &base.set) {
        tell(Severity::Warning, rules.clone(), reason);
    }
    let wanted = Wanted {
        place,
        tuning: &profile.tuning,
        told: 0,
        before: Vec::new(),
        after: Vec::new(),
    };
    let set = match profile.tuning == WafTuning::default() {
        true => Arc::clone(&base.set),
        false => wanted.change(&base, live, reads, tell)?,
    };
    Some((base, set))
}

fn compile_route(
    (waf, place): (&RouteWaf, &str),
    profile: &WafProfile,
    base: &Numbered,
    live: &Live,
    reads: &Reads,
    tell: &mut Tell<'_>,
) -> Option<Arc<RuleSet>> {
    let mut read = |field: &str, rules: &[WafRules]| {
        let name = format!("{place}.{field}");
        let texts = texts(&name, rules, reads);
        texts.unwrap_or_else(|errors| {
            for error in errors {
                tell(Severity::Error, name.clone(), error);
            }
            Vec::new()
        })
    };
    let (before, after) = (read("before", &waf.before), read("after", &waf.after));
    let tuning = waf.tuning.over(&profile.tuning);
    let wanted = Wanted {
        place,
        tuning: &tuning,
        told: profile.tuning.exclusions.len(),
        before,
        after,
    };
    let set = wanted.change(base, live, reads, tell)?;
    if base.set.declared_mode() != set.declared_mode() {
        if let Some(reason) = lowered(waf.mode, &set) {
            tell(Severity::Warning, place.to_owned(), reason);
        }
    }
    Some(set)
}

/// A change of a rule set.
struct Wanted<'a> {
    place: &'a str,
    tuning: &'a WafTuning,
    /// How many of its exclusions are of the profile, which has told of them.
    told: usize,
    before: Vec<RuleText>,
    after: Vec<RuleText>,
}

/// A line of the text of exclusions.
struct Exclusion<'a> {
    index: usize,
    rules: &'a ExcludedRules,
}

impl Wanted<'_> {
    fn change(
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

/// What rules do other than their text, or the profile, may make one think.
fn warnings(mode: WafMode, set: &RuleSet) -> Vec<String> {
    let mut warnings: Vec<String> = set.warnings().iter().map(ToString::to_string).collect();
    warnings.extend(lowered(mode, set));
    warnings
}

/// That rules lower the mode, where they do.
fn lowered(mode: WafMode, set: &RuleSet) -> Option<String> {
    let what = match set.declared_mode() {
        Some(EngineMode::Off) => "SecRuleEngine Off: nothing is inspected",
        Some(EngineMode::DetectionOnly) if mode == WafMode::Block => {
            "SecRuleEngine DetectionOnly: nothing is refused"
        }
        _ => return None,
    };
    Some(format!(
        "the rules say {what}, whatever `mode` is; take the line out of the rules to let `mode` decide"
    ))
}
