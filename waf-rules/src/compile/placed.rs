//! A rule at its place in a phase, and what is known of it before any request.

use std::{ops::Deref, sync::Arc};

use super::{Decision, Rule, gauge::Gauge};
use crate::{
    actions::Effect,
    audit::escaped,
    variables::{Expansion, Variable},
};

/// A rule at its place. Rule sets that differ little share the rule.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) rule: Arc<Rule>,
    /// Where in its phase to go on after a match, for `skip` and `skipAfter`.
    pub(crate) continue_at: Option<usize>,
    /// Its first link, where that is one.
    pub(crate) gauge: Option<Gauge>,
    /// Whether the gauge is all there is: a match decides where to go on, and nothing else.
    pub(crate) is_gate: bool,
    /// Whether anybody may ask or be told which values matched.
    pub(crate) tells_matches: bool,
    /// Whether anything in it asks for `RULE`.
    pub(crate) tells_rule: bool,
    /// The group that its first link asks, and the number of the condition.
    pub(crate) asks: Option<(u32, u32)>,
    /// Its tags as a record tells them, where these are always the same.
    pub(crate) tags: Option<Arc<[String]>>,
    /// Whether nobody wrote it, and it sets what a policy says.
    pub(super) is_setting: bool,
}

impl Placed {
    /// Finds out what is known of a rule.
    pub(super) fn new(rule: Arc<Rule>, continue_at: Option<usize>, is_setting: bool) -> Self {
        let first = rule.links.first();
        let gauge = first.and_then(Gauge::of);
        let condition = first.and_then(|link| link.condition.as_ref());
        let asks = condition.and_then(|condition| Some((condition.group?, condition.number?)));
        let tells_matches = rule.log
            || !matches!(rule.decision, Decision::Pass | Decision::Allow(_))
            || hides(&rule)
            || mentions(&rule, Variable::is_of_matches);
        let is_gate = matches!((&gauge, &rule.links[..]), (Some(_), [link]) if link.effects.is_empty())
            && !tells_matches
            && matches!(rule.decision, Decision::Pass)
            // `HIGHEST_SEVERITY` counts it.
            && rule.description.severity.is_none();
        Self {
            is_gate,
            tells_matches,
            tells_rule: mentions(&rule, |variable| variable == Variable::Rule),
            gauge,
            asks,
            tags: told_tags(&rule),
            is_setting,
            continue_at,
            rule,
        }
    }

    /// Tells whether it reads what is given back with the body of a request, or hides values
    /// by their names, for which they must be there.
    pub(super) fn needs_request_body(&self) -> bool {
        hides(&self.rule) || mentions(&self.rule, Variable::is_kept_of_request_body)
    }
}

impl Deref for Placed {
    type Target = Rule;

    fn deref(&self) -> &Rule {
        &self.rule
    }
}

/// Bytes of a tag that may be told whatever the limits are.
pub(crate) const SHORT: usize = 128;

/// The tags of a rule that logs, where nothing in them depends on the request.
fn told_tags(rule: &Rule) -> Option<Arc<[String]>> {
    let mut tags = rule.tags.iter().map(Expansion::literal);
    let is_short = |tag: Option<&[u8]>| tag.is_some_and(|tag| tag.len() <= SHORT);
    if !rule.log || !tags.all(is_short) {
        return None;
    }
    let literals = rule.tags.iter().filter_map(Expansion::literal);
    Some(literals.map(|tag| escaped(tag, SHORT)).collect())
}

/// The rules of a phase, in their order.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    pub(crate) rules: Vec<Placed>,
    /// By group of the plan: the rules that ask it, by their place, and the condition.
    by_group: Vec<Vec<(u32, u32)>>,
    /// Places of rules that set what a policy says: no jump and no `allow` goes past them.
    pub(crate) settings: Vec<usize>,
}

impl Phase {
    /// Takes rules in their order.
    pub(super) fn new(rules: Vec<Placed>) -> Self {
        let mut by_group: Vec<Vec<(u32, u32)>> = Vec::new();
        for (at, placed) in rules.iter().enumerate() {
            if let Some((group, condition)) = placed.asks {
                let group = group as usize;
                if by_group.len() <= group {
                    by_group.resize_with(group + 1, Vec::new);
                }
                // Rule sets have fewer rules than that.
                by_group[group].push((at as u32, condition));
            }
        }
        let settings = rules.iter().enumerate();
        let settings = settings.filter(|(_, placed)| placed.is_setting);
        Self {
            settings: settings.map(|(at, _)| at).collect(),
            rules,
            by_group,
        }
    }

    /// The rules that ask a group, and their conditions.
    pub(crate) fn asking(&self, group: u32) -> &[(u32, u32)] {
        self.by_group.get(group as usize).map_or(&[], Vec::as_slice)
    }
}

/// Whether an action hides what matched.
fn hides(rule: &Rule) -> bool {
    let mut effects = rule.links.iter().flat_map(|link| &link.effects);
    effects.any(|effect| matches!(effect, Effect::Sanitise(_)))
}

/// Whether a variable, of those that are wanted, is looked at or is part of a text.
fn mentions(rule: &Rule, wanted: impl Fn(Variable) -> bool + Copy) -> bool {
    let location = match &rule.decision {
        Decision::Redirect { location, .. } => Some(location),
        Decision::Pass | Decision::Deny { .. } | Decision::Drop | Decision::Allow(_) => None,
    };
    let texts = [&rule.message, &rule.log_data];
    let texts = texts.into_iter().flatten().chain(&rule.tags);
    let mut texts = texts.chain(location);
    let mut targets = rule.links.iter().flat_map(|link| &link.targets);
    let conditions = rule.links.iter().filter_map(|link| link.condition.as_ref());
    let mut arguments = conditions.filter_map(|condition| condition.operator.argument());
    let mut effects = rule.links.iter().flat_map(|link| &link.effects);
    texts.any(|text| text.mentions(wanted))
        || targets.any(|target| wanted(target.pattern.variable))
        || arguments.any(|text| text.mentions(wanted))
        || effects.any(|effect| match effect {
            Effect::OpenCollection(open) => open.mentions(wanted),
            Effect::SetVariable(set) => set.mentions(wanted),
            Effect::Control(_) | Effect::Sanitise(_) => false,
        })
}
