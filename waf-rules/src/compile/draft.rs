//! A rule while its text is being read.

use std::sync::Arc;

use super::{Decision, Description, Link, Rule};
use crate::{
    actions::{Disruptive, Effect},
    seclang::Place,
    transformations::Transformation,
    variables::Expansion,
};

/// A rule that still may change or go.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Copied where it is changed and another rule set has it too.
    pub(super) rule: Arc<Rule>,
    pub(super) removed: bool,
    /// Nobody wrote it, so `skip` does not count it.
    pub(super) inserted: bool,
    pub(super) jump: Option<(Jump, Place)>,
    /// What the decision of the rule was made of.
    disruptive: Option<Disruptive>,
    status: Option<u16>,
    defaults: Defaults,
}

impl Draft {
    /// Changes the actions of a link: those that a rule has once are replaced,
    /// others are added, and `t:none` takes the transformations away.
    ///
    /// Returns `false` where there is no such link.
    pub(super) fn update(&mut self, link: usize, actions: &Actions, place: &Place) -> bool {
        let rule = Arc::make_mut(&mut self.rule);
        let Some(changed) = rule.links.get_mut(link) else {
            return false;
        };
        changed.capture |= actions.capture;
        changed.effects.extend(actions.effects.iter().cloned());
        if let Some(condition) = &mut changed.condition {
            condition.multi_match |= actions.multi_match;
            if actions.reset_transformations {
                condition.transformations.clear();
            }
            condition.transformations.extend(&actions.transformations);
            condition.leave_plan();
        }
        if link == 0 {
            self.update_head(actions, place);
        }
        true
    }

    /// Makes it a rule that no exclusion means by its id.
    pub(super) fn forget_id(&mut self) {
        let rule = Arc::make_mut(&mut self.rule);
        Arc::make_mut(&mut rule.description).id = None;
    }

    /// Has conditions that are in no plan, or that got more targets, look for themselves.
    pub(super) fn look_alone(&mut self) {
        let is_planned = |link: &Link| {
            let condition = link.condition.as_ref();
            condition.is_none_or(|condition| condition.units.len() == link.targets.len())
        };
        if self.rule.links.iter().all(is_planned) {
            return;
        }
        for link in &mut Arc::make_mut(&mut self.rule).links {
            if let Some(condition) = &mut link.condition {
                condition.look_alone(link.targets.len());
            }
        }
    }

    fn update_head(&mut self, actions: &Actions, place: &Place) {
        let rule = Arc::make_mut(&mut self.rule);
        let description = Arc::make_mut(&mut rule.description);
        description.severity = actions.severity.or(description.severity);
        if let Some(message) = &actions.message {
            rule.message = Expansion::parse(message).ok();
            description.message = Some(message.clone());
        }
        rule.tags.extend(
            actions
                .tags
                .iter()
                .filter_map(|tag| Expansion::parse(tag).ok()),
        );
        description.tags.extend(actions.tags.iter().cloned());
        if actions.version.is_some() {
            description.version = actions.version.clone();
        }
        if actions.revision.is_some() {
            description.revision = actions.revision.clone();
        }
        description.maturity = actions.maturity.unwrap_or(description.maturity);
        description.accuracy = actions.accuracy.unwrap_or(description.accuracy);
        if actions.log_data.is_some() {
            rule.log_data = actions.log_data.clone();
        }
        rule.log = actions.log.unwrap_or(rule.log);
        rule.audit_log = actions.audit_log.unwrap_or(rule.audit_log);
        if let Some(jump) = &actions.jump {
            self.jump = Some((jump.clone(), place.clone()));
        }
        self.disruptive = actions.disruptive.clone().or(self.disruptive.take());
        self.status = actions.status.or(self.status);
        rule.decision = decision(self.disruptive.clone(), self.status, &self.defaults);
    }
}

#[derive(Clone, Debug)]
pub(super) enum Jump {
    Skip(usize),
    SkipAfter(String),
}

/// What `SecDefaultAction` says for a phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) disruptive: Option<Disruptive>,
    pub(super) status: Option<u16>,
    pub(super) log: Option<bool>,
    pub(super) audit_log: Option<bool>,
    pub(super) transformations: Vec<Transformation>,
}

/// The actions of one rule, sorted.
#[derive(Default)]
pub(super) struct Actions {
    pub(super) id: Option<u64>,
    pub(super) phase: Option<u8>,
    pub(super) message: Option<String>,
    pub(super) log_data: Option<Expansion>,
    pub(super) severity: Option<u8>,
    pub(super) tags: Vec<String>,
    pub(super) version: Option<String>,
    pub(super) revision: Option<String>,
    pub(super) maturity: Option<u8>,
    pub(super) accuracy: Option<u8>,
    pub(super) disruptive: Option<Disruptive>,
    pub(super) status: Option<u16>,
    pub(super) log: Option<bool>,
    pub(super) audit_log: Option<bool>,
    pub(super) capture: bool,
    pub(super) chain: bool,
    pub(super) multi_match: bool,
    pub(super) reset_transformations: bool,
    pub(super) transformations: Vec<Transformation>,
    pub(super) jump: Option<Jump>,
    pub(super) effects: Vec<Effect>,
    /// What among them takes something out of the inspection, as it is written.
    pub(super) exclusions: Vec<String>,
}

/// Makes the draft of a rule from its first link.
pub(super) fn head(
    place: &Place,
    phase: u8,
    actions: Actions,
    defaults: &Defaults,
    link: Link,
) -> Draft {
    let decision = decision(actions.disruptive.clone(), actions.status, defaults);
    let log = actions.log.or(defaults.log).unwrap_or(true);
    // The texts were checked when the actions were resolved.
    let expansion = |text: &String| Expansion::parse(text).ok();
    let rule = Rule {
        message: actions.message.as_ref().and_then(expansion),
        tags: actions.tags.iter().filter_map(expansion).collect(),
        description: Arc::new(Description {
            id: actions.id,
            phase,
            severity: actions.severity,
            message: actions.message,
            tags: actions.tags,
            version: actions.version,
            revision: actions.revision,
            maturity: actions.maturity.unwrap_or_default(),
            accuracy: actions.accuracy.unwrap_or_default(),
            place: Some(place.clone()),
        }),
        log_data: actions.log_data,
        decision,
        log,
        audit_log: actions.audit_log.or(defaults.audit_log).unwrap_or(log),
        links: vec![link],
    };
    Draft {
        rule: Arc::new(rule),
        removed: false,
        inserted: false,
        jump: actions.jump.map(|jump| (jump, place.clone())),
        disruptive: actions.disruptive,
        status: actions.status,
        defaults: defaults.clone(),
    }
}

/// Resolves what a rule decides.
pub(super) fn decision(
    disruptive: Option<Disruptive>,
    status: Option<u16>,
    defaults: &Defaults,
) -> Decision {
    let default = || defaults.disruptive.clone().unwrap_or(Disruptive::Pass);
    let chosen = match disruptive {
        None | Some(Disruptive::Block) => default(),
        Some(chosen) => chosen,
    };
    let status = status.or(defaults.status);
    match chosen {
        Disruptive::Pass | Disruptive::Block => Decision::Pass,
        Disruptive::Deny => Decision::Deny {
            status: status.unwrap_or(403),
        },
        Disruptive::Drop => Decision::Drop,
        Disruptive::Redirect(location) => {
            let status = status
                .filter(|status| (300..400).contains(status))
                .unwrap_or(302);
            Decision::Redirect { status, location }
        }
        Disruptive::Allow(scope) => Decision::Allow(scope),
    }
}
