//! Asks the links of a chain about the values they look at.
//!
//! ```text
//! values of the targets -> transformed -> operator -> matches (owned)
//!                                                        each: MATCHED_VAR, TX:0-9, setvar, ctl
//! ```
//!
//! Between the first two steps stands the prefilter: a value that has none of the
//! literals of a condition is not asked about.

use std::{borrow::Cow, sync::Arc};

use super::{State, Transaction};
use crate::{
    actions::Effect,
    compile::{Condition, Description, Link, Placed},
    operators::Captures,
    prefilter::{COST_OF_A_VALUE, Candidates, Looked, Plan, Values},
    variables::{Selector, Target, TargetPattern, Variable, fields, nth, visit_target},
};

const TOO_MUCH_WORK: &str = "the request asks for too much work";

/// One value that matched.
struct Found {
    name: Vec<u8>,
    value: Vec<u8>,
    captures: Captures,
}

impl Transaction {
    /// Tells whether every link of a rule matches. The effects of a link happen
    /// when it matches, even if a later one does not.
    pub(super) fn rule_matches(&mut self, plan: &Plan, rule: &Placed) -> bool {
        let mut links = &rule.links[..];
        // What `ctl` took away is not looked at, by a gauge either.
        if let Some(gauge) = &rule.gauge
            && !self.state.control.removes_tx
        {
            if !gauge.holds(&self.state) {
                return false;
            }
            if rule.is_gate {
                return true;
            }
            if !rule.tells_matches {
                links = &rule.links[1..];
                self.tell_rule(rule);
                self.effects(&rule.links[0]);
            }
        }
        self.tell_rule(rule);
        self.state.matched_vars.clear();
        self.state.link_ends.clear();
        links
            .iter()
            .all(|link| self.link_matches(plan, &rule.description, link))
    }

    /// What `RULE` is. Counted only where somebody asks: threads share the counter.
    fn tell_rule(&mut self, rule: &Placed) {
        if rule.tells_rule {
            self.state.current = Arc::clone(&rule.description);
        }
    }

    fn link_matches(&mut self, plan: &Plan, description: &Description, link: &Link) -> bool {
        let Some(condition) = &link.condition else {
            self.effects(link);
            self.state.link_ends.push(self.state.matched_vars.len());
            return true;
        };
        let mut work = self.work;
        let candidates = &mut self.candidates;
        let asked = match (condition.group, condition.number) {
            (Some(group), Some(number)) => {
                let conditions = candidates.group(plan, &self.state, group, &mut work);
                conditions.has(number)
            }
            (None, Some(number)) => {
                let mut asked = false;
                for (target, looked) in link.targets.iter().zip(&condition.units) {
                    asked |= match looked {
                        Some(looked) if !target.counted => {
                            candidates.may_match(plan, &self.state, looked, number, &mut work)
                        }
                        _ => true,
                    };
                }
                asked
            }
            // Every value is asked about: there is nothing to find out before.
            (_, None) => true,
        };
        self.work = work;
        // What is looked at counts, also where nobody is asked.
        if self.has_worked_too_much() {
            return false;
        }
        if !asked && !link.targets.is_empty() {
            return false;
        }
        let mut search = Search {
            state: &self.state,
            plan,
            candidates: &self.candidates,
            link,
            condition,
            description,
            work,
            found: Vec::new(),
        };
        for (target, looked) in link.targets.iter().zip(&condition.units) {
            search.target(target, looked.as_ref());
        }
        let (found, work) = (search.found, search.work);
        self.work = work;
        if self.has_worked_too_much() {
            return false;
        }
        if self.state.matched_vars.len() + found.len() > self.state.limits.max_matches {
            self.refuse(400, "too many values match");
            return false;
        }
        let matched = !found.is_empty();
        for found in found {
            self.state.matched_vars.push(found.name, found.value);
            if link.capture {
                self.capture(found.captures);
            }
            self.effects(link);
        }
        if matched {
            self.state.link_ends.push(self.state.matched_vars.len());
        }
        matched
    }

    /// Tells whether the request asks for more work than it may, and refuses it then.
    pub(super) fn has_worked_too_much(&mut self) -> bool {
        let is_over = self.work > self.state.limits.max_work;
        if is_over {
            self.refuse(400, TOO_MUCH_WORK);
        }
        is_over
    }

    /// Sets `TX:0` to `TX:9`.
    fn capture(&mut self, captures: Captures) {
        let State {
            matched_vars,
            captured_from,
            ..
        } = &mut self.state;
        if let Some(field) = matched_vars.last() {
            captured_from.clone_from(&field.name);
        }
        self.state.tx.capture(&captures);
    }

    fn effects(&mut self, link: &Link) {
        for effect in &link.effects {
            match effect {
                Effect::OpenCollection(open) => {
                    let timeout = self.rules.settings().collection_timeout();
                    open.apply(&mut self.state, timeout);
                }
                Effect::SetVariable(set) => {
                    if !set.apply(&mut self.state) {
                        self.refuse(500, "the rules set too many variables");
                    }
                }
                Effect::Control(control) => control.apply(&mut self.state, self.most),
                Effect::Sanitise(sanitise) => sanitise.apply(&mut self.state),
            }
        }
    }
}

/// Collects the values that one link matches.
struct Search<'a> {
    state: &'a State,
    plan: &'a Plan,
    candidates: &'a Candidates,
    link: &'a Link,
    condition: &'a Condition,
    description: &'a Description,
    work: u64,
    found: Vec<Found>,
}

impl<'a> Search<'a> {
    fn target(&mut self, target: &'a Target, looked: Option<&'a Looked>) {
        let variable = target.pattern.variable;
        let values = |unit: u32| self.candidates.values(self.plan, unit);
        let known = looked.and_then(|looked| values(looked.last));
        let number = self.condition.number.filter(|_| !target.counted);
        let has_steps = looked.is_some_and(|looked| !looked.steps.is_empty());
        if let (Some(known), Some(number), false) = (known, number, has_steps)
            && !known.any_may_match(number)
        {
            return;
        }
        // What is known of the values at each step that the condition looks at.
        let before: Option<Vec<Values<'_>>> = match looked {
            Some(looked) => looked.steps.iter().map(|unit| values(*unit)).collect(),
            None => None,
        };
        let asked = match (known, before, number) {
            (Some(known), Some(before), Some(number)) => Some((known, before, number)),
            _ => None,
        };
        if let Some((known, before, number)) = &asked
            && !known.any_may_match(*number)
            && !before.iter().any(|values| values.any_may_match(*number))
        {
            return;
        }
        let state = self.state;
        // Of many values few may match: these are taken by their places.
        if let Some((known, before, number)) = &asked
            && before.is_empty()
            && nth(state, variable, 0).is_some()
        {
            for at in known.candidates(*number) {
                if let Some((name, value)) = nth(state, variable, at) {
                    self.named(target, Some(name), value.into(), looked, Some((*known, at)));
                }
            }
            return;
        }
        let may_match = |at: usize| match &asked {
            Some((known, before, number)) => {
                known.may_match(at, *number)
                    || before.iter().any(|values| values.may_match(at, *number))
            }
            None => true,
        };
        let (mut at, mut count) = (0_usize, 0_usize);
        let mut consider = |at, name, value| {
            if may_match(at) {
                let known = known.map(|known| (known, at));
                count += usize::from(self.named(target, name, value, looked, known));
            }
        };
        if let Selector::Name(wanted) = &target.pattern.selector
            && let Some(fields) = fields(state, variable)
        {
            for (at, field) in fields.iter().enumerate() {
                if wanted.bytes().eq_ignore_ascii_case(&field.name) {
                    consider(at, Some(&field.name[..]), Cow::Borrowed(&field.value[..]));
                }
            }
        } else {
            visit_target(state, &target.pattern, &mut |name, value| {
                consider(at, name, value);
                at += 1;
            });
        }
        if target.counted && !self.is_left_out(variable, None) {
            let name = || [b"&", variable.name().as_bytes()].concat();
            self.value(name, Cow::Owned(count.to_string().into_bytes()), None, None);
        }
    }

    /// Asks about a value, or counts it, where the target means it.
    fn named(
        &mut self,
        target: &Target,
        name: Option<&[u8]>,
        value: Cow<'a, [u8]>,
        looked: Option<&Looked>,
        known: Option<(Values<'a>, usize)>,
    ) -> bool {
        let variable = target.pattern.variable;
        self.work = self.work.saturating_add(1);
        let is_meant = self.is_meant(target, variable, name);
        if is_meant && !target.counted {
            self.value(|| full_name(variable, name), value, looked, known);
        }
        is_meant
    }

    fn is_meant(&self, target: &Target, variable: Variable, name: Option<&[u8]>) -> bool {
        name.is_none_or(|name| target.pattern.selector.picks(name))
            && !self.is_left_out(variable, name)
    }

    fn is_left_out(&self, variable: Variable, name: Option<&[u8]>) -> bool {
        let excluded = |pattern: &TargetPattern| pattern.covers(variable, name);
        let mut removed = self.state.control.removed_targets.iter();
        self.link.exclusions.iter().any(excluded)
            // Taken away by `ctl`.
            || removed.any(|removed| excluded(&removed.1) && removed.0.covers(self.description))
    }

    /// Asks about one value, and keeps it if it matches. `known` is where it stands among
    /// those that were looked at.
    fn value(
        &mut self,
        name: impl FnOnce() -> Vec<u8>,
        value: Cow<'a, [u8]>,
        looked: Option<&Looked>,
        known: Option<(Values<'a>, usize)>,
    ) {
        let matched = match known {
            Some((_, at)) if self.condition.multi_match => self.every_known_step(value, looked, at),
            None if self.condition.multi_match => self.every_step(value),
            Some((values, at)) => {
                let chain = self.condition.chain;
                let (value, cost) = values.transformed(at, self.plan, chain, value);
                self.work = self.work.saturating_add(cost);
                self.ask(&value).map(|captures| (value, captures))
            }
            None => {
                let mut value = value;
                for transformation in &self.condition.transformations {
                    self.spend(&value);
                    value = transformation.apply(value);
                }
                self.ask(&value).map(|captures| (value, captures))
            }
        };
        if let Some((value, captures)) = matched {
            self.found.push(Found {
                name: name(),
                value: value.into_owned(),
                captures,
            });
        }
    }

    /// As [`Self::every_step`], of a value that was looked at.
    fn every_known_step(
        &mut self,
        value: Cow<'a, [u8]>,
        looked: Option<&Looked>,
        at: usize,
    ) -> Option<(Cow<'a, [u8]>, Captures)> {
        let (Some(looked), Some(number)) = (looked, self.condition.number) else {
            return self.every_step(value);
        };
        let mut asked: Option<Cow<'a, [u8]>> = None;
        for unit in looked.steps.iter().chain([&looked.last]) {
            let Some(values) = self.candidates.values(self.plan, *unit) else {
                return self.every_step(value);
            };
            if !values.may_match(at, number) {
                continue;
            }
            let chain = self.plan.units()[*unit as usize].chain;
            let (now, cost) = values.transformed(at, self.plan, chain, value.clone());
            self.work = self.work.saturating_add(cost);
            if asked.as_ref() == Some(&now) {
                continue;
            }
            if let Some(captures) = self.ask(&now) {
                return Some((now, captures));
            }
            asked = Some(now);
        }
        None
    }

    /// Asks before the first transformation and after each that changes the value.
    fn every_step(&mut self, mut value: Cow<'a, [u8]>) -> Option<(Cow<'a, [u8]>, Captures)> {
        if let Some(captures) = self.ask(&value) {
            return Some((value, captures));
        }
        for transformation in &self.condition.transformations {
            self.spend(&value);
            let changed = transformation.apply(value.clone());
            if changed != value {
                value = changed;
                if let Some(captures) = self.ask(&value) {
                    return Some((value, captures));
                }
            }
        }
        None
    }

    fn ask(&mut self, value: &[u8]) -> Option<Captures> {
        self.spend(value);
        if self.work > self.state.limits.max_work {
            return None;
        }
        let captures = self
            .condition
            .operator
            .evaluate(value, self.state, self.link.capture);
        match (self.condition.negated, captures) {
            (false, captures) => captures,
            (true, None) => Some(Captures::new()),
            (true, Some(_)) => None,
        }
    }

    fn spend(&mut self, value: &[u8]) {
        self.work = self
            .work
            .saturating_add(value.len() as u64 + COST_OF_A_VALUE);
    }
}

/// Returns a name such as `ARGS:id`.
fn full_name(variable: Variable, name: Option<&[u8]>) -> Vec<u8> {
    match name {
        Some(name) => [variable.name().as_bytes(), b":", name].concat(),
        None => variable.name().as_bytes().to_vec(),
    }
}
