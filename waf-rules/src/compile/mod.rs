//! Ast -> [`RuleSet`]: names are resolved, chains joined, defaults applied,
//! exclusions carried out, and jumps turned into positions.
//!
//! ```text
//! Ast --Compiler--> Draft rules --finish--> RuleSet { rules by phase, settings }
//!      per directive             jumps, removals
//! ```
//!
//! [`RuleSet::change`] makes of one set another that differs little: it begins with the
//! drafts of the first, and shares every rule that it does not change, and the plan.
//!
//! Every problem of every text is reported. A set that compiles has no name
//! left to look up, so nothing can fail for that reason while traffic flows.

mod change;
mod compiler;
mod draft;
mod exclusion;
mod expressions;
mod finish;
mod gauge;
mod placed;
mod rule;
mod selection;
mod settings;

pub use change::Change;
pub use exclusion::Exclusion;
pub(crate) use placed::{Phase, Placed, SHORT};
pub(crate) use rule::{Condition, Decision, Description, Link, Rule};
pub(crate) use selection::RuleSelection;
pub(crate) use settings::Settings;

use std::sync::Arc;

use crate::{
    error::RuleError,
    prefilter::Plan,
    source::{RuleSource, RuleText},
    verdict::EngineMode,
};

/// Number of phases.
pub(crate) const PHASES: usize = 5;

/// A compiled, immutable set of rules; shared by the transactions that use it.
#[derive(Debug)]
pub struct RuleSet {
    /// Rules by phase, in the order of the text.
    phases: [Phase; PHASES],
    plan: Arc<Plan>,
    settings: Settings,
    warnings: Vec<RuleError>,
    /// What changes begin with; a set that is one has none.
    base: Option<change::Base>,
    exclusions: Vec<Exclusion>,
    hash: String,
    /// Whether a rule behind phase 2 reads what came in the body of a request.
    reads_request_body_late: bool,
}

impl RuleSet {
    /// Compiles texts, in order, to one rule set.
    ///
    /// # Errors
    ///
    /// Every problem of every text, in the order of the texts: what cannot be
    /// read, names that are not known, features that are not supported, ids
    /// that are missing or not unique, chains without an end.
    pub fn compile(texts: &[RuleText], source: &dyn RuleSource) -> Result<Self, Vec<RuleError>> {
        compiler::compile(texts, source)
    }

    /// Counts the rules; a chain is one.
    pub fn len(&self) -> usize {
        self.phases.iter().map(|phase| phase.rules.len()).sum()
    }

    /// Tells whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether transactions want the request body, unless a `ctl` decides
    /// otherwise: `SecRequestBodyAccess`, on where the text says nothing.
    ///
    /// ModSecurity's default is off; here a rule set that forgot the directive
    /// must not let bodies pass unseen.
    pub fn inspects_request_body(&self) -> bool {
        self.settings.request_body_access.unwrap_or(true)
    }

    /// Tells whether transactions want the response body: `SecResponseBodyAccess`,
    /// off where the text says nothing.
    pub fn inspects_response_body(&self) -> bool {
        self.settings.response_body_access.unwrap_or(false)
    }

    /// Returns what `SecRuleEngine` says, if the text has it. A transaction runs
    /// in the less strict of this and [`crate::TransactionOptions::mode`].
    pub fn declared_mode(&self) -> Option<EngineMode> {
        self.settings.engine
    }

    /// Returns what `SecComponentSignature` says, for diagnostics.
    pub fn signatures(&self) -> &[String] {
        self.settings.signatures()
    }

    /// Returns what is legal but has no effect, or not the one that was meant.
    pub fn warnings(&self) -> &[RuleError] {
        &self.warnings
    }

    /// Returns everything that takes something out of the inspection, in the order of the text.
    pub fn exclusions(&self) -> &[Exclusion] {
        &self.exclusions
    }

    /// Returns the SHA-256 of every text that the set was compiled from, those that rules
    /// name included, in hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the rules of a phase, 1 to 5.
    pub(crate) fn phase(&self, phase: u8) -> &Phase {
        &self.phases[usize::from(phase) - 1]
    }

    /// Tells whether a rule behind phase 2 reads what came in the body of a request.
    pub(crate) fn reads_request_body_late(&self) -> bool {
        self.reads_request_body_late
    }

    /// What its rules have in common.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes every rule look at every value for itself.
    #[cfg(test)]
    pub(crate) fn forget_plan(&mut self) {
        for phase in &mut self.phases {
            let rules = std::mem::take(phase).rules.into_iter().map(|mut placed| {
                for link in &mut Arc::make_mut(&mut placed.rule).links {
                    if let Some(condition) = &mut link.condition {
                        condition.number = None;
                        condition.group = None;
                        condition.units.iter_mut().for_each(|looked| *looked = None);
                    }
                }
                let mut placed = Placed::new(placed.rule, placed.continue_at, placed.is_setting);
                (placed.gauge, placed.is_gate) = (None, false);
                placed
            });
            *phase = Phase::new(rules.collect());
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Returns the rules that ModSecurity's recommended configuration has below a rule set,
/// named `recommended.conf`: bodies that cannot be taken apart are refused.
pub fn recommended() -> RuleText {
    RuleText {
        name: "recommended.conf".into(),
        text: include_str!("../../rules/recommended.conf").into(),
    }
}
