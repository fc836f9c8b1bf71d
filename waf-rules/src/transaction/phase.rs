//! Runs the rules of a phase, and what a match of a whole chain does.

use super::Transaction;
use crate::{
    actions::Scope,
    audit::escaped,
    compile::{Decision, Placed, Rule},
    prefilter::Agenda,
    verdict::{EngineMode, Interruption, InterruptionAction, Verdict},
};

impl Transaction {
    /// Runs a phase, once and in order, and returns the verdict.
    pub(super) fn run(&mut self, phase: u8) -> Verdict {
        if let Some(interruption) = &self.interruption {
            return Verdict::Interrupt(interruption.clone());
        }
        if self.phase < phase {
            self.phase = phase;
            self.rules_of(phase);
        }
        match &self.interruption {
            Some(interruption) => Verdict::Interrupt(interruption.clone()),
            None => Verdict::Continue,
        }
    }

    /// Runs phase 5; it only records.
    pub(super) fn run_last_phase(&mut self) {
        self.phase = 5;
        // What the request exhausted is not held against the record of it.
        self.refusal = None;
        self.work = 0;
        self.rules_of(5);
    }

    fn rules_of(&mut self, phase: u8) {
        if self.state.control.mode == EngineMode::Off {
            return;
        }
        self.report_refusal();
        let rules = self.rules.clone();
        let plan = rules.plan();
        let of_phase = rules.phase(phase);
        let mut agenda = Agenda::new(of_phase, plan.groups().len());
        let mut at = 0;
        while let Some(next) = agenda.next(at) {
            at = next;
            if self.is_over(phase) {
                return;
            }
            let rule = &of_phase.rules[at];
            // Behind a gate nothing is another than before. What a policy sets must not be
            // passed over, so where there is any, each jump is looked at.
            if rule.is_gate && of_phase.settings.is_empty() && self.state.control.is_untouched() {
                let holds = rule
                    .gauge
                    .as_ref()
                    .is_some_and(|gauge| gauge.holds(&self.state));
                at = match rule.continue_at {
                    Some(next) if holds => next.max(at + 1),
                    _ => at + 1,
                };
                continue;
            }
            if let Some((group, _)) = rule.asks
                && !agenda.knows(group)
            {
                let (candidates, work) = (&mut self.candidates, &mut self.work);
                let conditions = candidates.group(plan, &self.state, group, work);
                agenda.cross_out(of_phase, group, conditions);
                // It may be one of those itself.
                if !self.has_worked_too_much() {
                    continue;
                }
            }
            let matched = !self.is_removed(rule) && self.rule_matches(plan, rule);
            self.report_refusal();
            if self.is_over(phase) {
                return;
            }
            let next = match rule.continue_at {
                // A jump only goes forward, so the loop ends.
                Some(next) if matched => next.max(at + 1),
                _ => at + 1,
            };
            if matched {
                if !rule.is_gate {
                    self.conclude(rule);
                }
                let is_last = matches!(rule.decision, Decision::Allow(_));
                let skipped = at + 1..if is_last { of_phase.rules.len() } else { next };
                // What a policy sets holds, whatever its rules leave out.
                for setting in of_phase.settings.iter().filter(|set| skipped.contains(set)) {
                    let _ = self.rule_matches(plan, &of_phase.rules[*setting]);
                }
                if matches!(rule.decision, Decision::Allow(Scope::Phase)) {
                    return;
                }
            }
            at = next;
        }
    }

    /// Tells whether no more rules of a phase run.
    fn is_over(&self, phase: u8) -> bool {
        let allowed = match self.allowed {
            Some(Scope::Everything) => phase < 5,
            Some(Scope::Request) => phase <= 2,
            Some(Scope::Phase) | None => false,
        };
        allowed
            || (phase < 5 && self.interruption.is_some())
            || self.state.control.mode == EngineMode::Off
            || self.work > self.state.limits.max_work
    }

    fn is_removed(&self, rule: &Rule) -> bool {
        self.state
            .control
            .removed
            .iter()
            .any(|rules| rules.covers(&rule.description))
    }

    /// Turns an exceeded limit into an interruption.
    fn report_refusal(&mut self) {
        let Some((status, reason)) = self.refusal.take() else {
            return;
        };
        self.relevant = true;
        self.went_past_limit |= self.state.control.mode == EngineMode::DetectionOnly;
        let message = reason.to_owned();
        let action = InterruptionAction::Deny;
        self.interrupt(Interruption {
            status,
            action,
            rule: None,
            phase: self.phase,
            message,
        });
    }

    fn interrupt(&mut self, interruption: Interruption) {
        if self.phase == 5 {
            return;
        }
        match self.state.control.mode {
            EngineMode::On => drop(self.interruption.get_or_insert(interruption)),
            EngineMode::DetectionOnly => drop(self.would_interrupt.get_or_insert(interruption)),
            EngineMode::Off => {}
        }
    }

    /// Records a match and carries out what the rule decides.
    fn conclude(&mut self, rule: &Placed) {
        if let Some(severity) = rule.description.severity {
            let highest = self.state.highest_severity.get_or_insert(severity);
            *highest = severity.min(*highest);
        }
        let is_told = rule.log || !matches!(rule.decision, Decision::Pass | Decision::Allow(_));
        let message = match &rule.message {
            Some(text) if is_told => self.told(text),
            _ => String::new(),
        };
        if rule.log {
            self.relevant |= rule.audit_log;
            match self.matches.len() < self.state.limits.max_audit_matches {
                true => self.record(rule, &message),
                false => self.matches_dropped = self.matches_dropped.saturating_add(1),
            }
        }
        let (status, action) = match &rule.decision {
            Decision::Pass => return,
            Decision::Allow(scope) => {
                if *scope != Scope::Phase {
                    self.allowed = Some(*scope);
                }
                return;
            }
            Decision::Deny { status } => (*status, InterruptionAction::Deny),
            Decision::Drop => (403, InterruptionAction::Drop),
            Decision::Redirect { status, location } => {
                let location = location.expand(&self.state);
                // Nothing that a client sent may end the header line.
                let location = escaped(&location, location.len());
                (*status, InterruptionAction::Redirect(location))
            }
        };
        let rule = rule.description.id;
        self.interrupt(Interruption {
            status,
            action,
            rule,
            phase: self.phase,
            message,
        });
    }
}
