//! One compiled rule. Data only.

use std::sync::Arc;

use crate::{
    actions::{Effect, Scope},
    operators::Operator,
    prefilter::Looked,
    seclang::Place,
    transformations::Transformation,
    variables::{Expansion, Target, TargetPattern},
};

/// A rule: one link, or a chain of links that must all match.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) description: Arc<Description>,
    pub(crate) message: Option<Expansion>,
    pub(crate) log_data: Option<Expansion>,
    pub(crate) tags: Vec<Expansion>,
    pub(crate) decision: Decision,
    pub(crate) log: bool,
    pub(crate) audit_log: bool,
    pub(crate) links: Vec<Link>,
}

/// What is known about a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    pub(crate) id: Option<u64>,
    pub(crate) phase: u8,
    pub(crate) severity: Option<u8>,
    pub(crate) message: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) version: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) maturity: u8,
    pub(crate) accuracy: u8,
    pub(crate) place: Option<Place>,
}

/// What a match decides; `block` is resolved.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    Pass,
    Deny { status: u16 },
    Drop,
    Redirect { status: u16, location: Expansion },
    Allow(Scope),
}

/// One `SecRule` or `SecAction` of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) targets: Vec<Target>,
    pub(crate) exclusions: Vec<TargetPattern>,
    /// `None` for `SecAction`, which always matches.
    pub(crate) condition: Option<Condition>,
    pub(crate) capture: bool,
    pub(crate) effects: Vec<Effect>,
}

/// How values are transformed and what is asked of them.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) transformations: Vec<Transformation>,
    /// Ask after every transformation that changed the value.
    pub(crate) multi_match: bool,
    pub(crate) negated: bool,
    /// Shared: a rule that is copied to be changed keeps its automaton.
    pub(crate) operator: Arc<Operator>,
    /// The operator as it is written, cut.
    pub(crate) operator_text: Box<str>,
    /// Its number in the plan, where it has literals that no match can do without.
    pub(crate) number: Option<u32>,
    /// The number of its chain in the plan.
    pub(crate) chain: u32,
    /// The number of all units of its targets together, where there is nothing else to ask.
    pub(crate) group: Option<u32>,
    /// Of each target, where its values are looked at for all rules at once.
    pub(crate) units: Vec<Option<Looked>>,
}

impl Condition {
    /// Looks for itself at what no plan knows of: values of targets that were added, or
    /// all where it was never planned.
    pub(crate) fn look_alone(&mut self, targets: usize) {
        self.group = None;
        self.units.resize_with(targets, || None);
    }

    /// Leaves the plan: what it asks of its values is not what was planned.
    pub(crate) fn leave_plan(&mut self) {
        self.number = None;
        self.group = None;
        self.units.clear();
    }
}
