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
    model::{Model, RouteWaf, WafMode, WafProfile, WafRules, WafTuning},
    problem::Severity,
};
use portcullis_waf::{EngineMode, RuleSet, SecretNames};

use super::{
    CompiledWaf, Live, Reads,
    rule_sets::{Numbered, texts},
    waf_change::{Tell, Wanted},
};

/// The rule sets of a model.
#[derive(Debug, Default)]
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
        secrets: &Arc<SecretNames>,
    ) -> Option<CompiledWaf> {
        let rules = match changes(waf) {
            true => self.routes.get(&place(document, rule))?.as_ref()?,
            false => &self.profiles.get(&waf.profile)?.1,
        };
        Some(CompiledWaf {
            profile: Arc::clone(profile(model, waf)?),
            rules: Arc::clone(rules),
            collections: live.collections(&waf.profile),
            mode: mode(waf.mode),
            secrets: Arc::clone(secrets),
        })
    }

    /// What requests have that no route is about, by a profile as it is.
    pub(super) fn of_profile(
        &self,
        name: &str,
        model: &Model,
        live: &Live,
        secrets: &Arc<SecretNames>,
    ) -> Option<CompiledWaf> {
        let (_, rules) = self.profiles.get(name)?;
        let mut profiles = model.waf_profiles.iter();
        let profile = profiles.find(|profile| profile.name == name)?;
        Some(CompiledWaf {
            rules: Arc::clone(rules),
            collections: live.collections(name),
            mode: mode(profile.mode),
            secrets: Arc::clone(secrets),
            profile: Arc::clone(profile),
        })
    }

    /// The rule set of a profile.
    pub(super) fn profile(&self, name: &str) -> Option<&Arc<RuleSet>> {
        self.profiles.get(name).map(|(_, set)| set)
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

fn mode(mode: WafMode) -> EngineMode {
    match mode {
        WafMode::Block => EngineMode::On,
        WafMode::Detect => EngineMode::DetectionOnly,
    }
}

/// Where what a rule has of a WAF is written: with the rule, its route or the defaults.
fn place(document: &Document, (route, rule): (usize, usize)) -> String {
    let wanted = document.routes.get(route);
    let of_rule = wanted.and_then(|route| route.rules.get(rule)?.policies.as_deref());
    let of_route = wanted.and_then(|route| route.policies.as_deref());
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
    if base.set.declared_mode() != set.declared_mode()
        && let Some(reason) = lowered(waf.mode, &set)
    {
        tell(Severity::Warning, place.to_owned(), reason);
    }
    Some(set)
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
