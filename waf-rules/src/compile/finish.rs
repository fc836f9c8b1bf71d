//! The end of compilation: late exclusions are named, jumps become positions,
//! and rules go to their phases.

use std::sync::Arc;

use sha2::Digest;

use super::{
    Exclusion, PHASES, Phase, Placed, RuleSet,
    change::Base,
    compiler::Compiler,
    draft::{Draft, Jump},
};
use crate::{
    actions::Effect,
    collections::Collection,
    error::{Complaint, RuleError},
    prefilter::Plan,
    seclang::Place,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Compiler<'_> {
    /// Makes the rule set, or returns the errors. With a plan, rules that it does not
    /// know look for themselves.
    pub(super) fn finish(mut self, plan: Option<Arc<Plan>>) -> Result<RuleSet, Vec<RuleError>> {
        let targets: Vec<Option<usize>> = (0..self.drafts.len())
            .map(|index| self.jump_target(index))
            .collect();
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        self.warn_of_late_exclusions();
        self.warn_of_closed_collections();
        // Positions in a phase: how many rules of the phase stay before a draft.
        let place_of = |phase: u8, end: usize| {
            let before = self.drafts[..end.min(self.drafts.len())].iter();
            before
                .filter(|draft| !draft.removed && draft.rule.description.phase == phase)
                .count()
        };
        let positions: Vec<Option<usize>> = targets
            .iter()
            .zip(&self.drafts)
            .map(|(target, draft)| target.map(|end| place_of(draft.rule.description.phase, end)))
            .collect();
        let is_base = plan.is_none();
        let plan = plan.unwrap_or_else(|| {
            let kept = self.drafts.iter_mut().filter(|draft| !draft.removed);
            let rules = kept.map(|draft| Arc::make_mut(&mut draft.rule));
            Arc::new(Plan::of(rules))
        });
        let mut phases: [Vec<Placed>; PHASES] = Default::default();
        for (draft, position) in self
            .drafts
            .iter_mut()
            .zip(positions)
            .filter(|(draft, _)| !draft.removed)
        {
            draft.look_alone();
            let phase = usize::from(draft.rule.description.phase).saturating_sub(1);
            if let Some(rules) = phases.get_mut(phase) {
                rules.push(Placed::new(Arc::clone(&draft.rule), position));
            }
        }
        // An action of a rule that was taken out itself does nothing.
        let kept = |exclusion: &Exclusion| {
            let rules = phases.iter().flatten();
            exclusion.rule.is_none()
                || rules
                    .into_iter()
                    .any(|rule| rule.description.id == exclusion.rule)
        };
        self.exclusions.retain(kept);
        let base = is_base.then(|| Base {
            drafts: self.drafts,
            markers: self.markers,
            defaults: self.defaults,
        });
        Ok(RuleSet {
            plan,
            phases: phases.map(Phase::new),
            settings: self.settings,
            warnings: self.warnings,
            base,
            exclusions: self.exclusions,
            hash: hex(&self.hash.into_inner().finalize()),
        })
    }

    /// Warns of a `ctl` exclusion whose rules have all run when it does.
    fn warn_of_late_exclusions(&mut self) {
        for (index, draft) in self
            .drafts
            .iter()
            .enumerate()
            .filter(|(_, draft)| !draft.removed)
        {
            let effects = draft.rule.links.iter().flat_map(|link| &link.effects);
            let exclusions = effects.filter_map(|effect| match effect {
                Effect::Control(control) => control.exclusion(),
                Effect::OpenCollection(_) | Effect::SetVariable(_) | Effect::Sanitise(_) => None,
            });
            let now = (draft.rule.description.phase, index);
            for exclusion in exclusions {
                let meant = self
                    .drafts
                    .iter()
                    .enumerate()
                    .filter(|(_, other)| !other.removed);
                let mut meant = meant
                    .filter(|(_, other)| exclusion.covers(&other.rule.description))
                    .peekable();
                // That there is no such rule at all is common: exclusions are
                // written for rule sets that are not always all there.
                let exists = meant.peek().is_some();
                if exists
                    && meant.all(|(at, other)| (other.rule.description.phase, at) < now)
                    && let Some(place) = &draft.rule.description.place
                {
                    let complaint = Complaint::new(
                        "this exclusion has no effect: the rules it means run before it",
                    )
                    .hint("move it to an earlier phase, or before them");
                    self.warnings.push(complaint.at(place));
                }
            }
        }
    }

    /// Warns of variables in collections that no rule opens.
    fn warn_of_closed_collections(&mut self) {
        let effects_of = |draft: &Draft| {
            let links = draft.rule.links.iter();
            links
                .flat_map(|link| link.effects.clone())
                .collect::<Vec<_>>()
        };
        let kept = || self.drafts.iter().filter(|draft| !draft.removed);
        let opened: Vec<Collection> = kept()
            .flat_map(effects_of)
            .filter_map(|effect| match effect {
                Effect::OpenCollection(open) => Some(open.collection()),
                Effect::SetVariable(_) | Effect::Control(_) | Effect::Sanitise(_) => None,
            })
            .collect();
        let closed = |effect: &Effect| {
            matches!(effect, Effect::SetVariable(set)
                if set.collection().is_some_and(|wanted| !opened.contains(&wanted)))
        };
        let places: Vec<Place> = kept()
            .filter(|draft| effects_of(draft).iter().any(closed))
            .filter_map(|draft| draft.rule.description.place.clone())
            .collect();
        for place in places {
            let complaint = Complaint::new(
                "this change of a collection has no effect: no rule opens the collection",
            )
            .hint("open it with initcol, setsid or setuid");
            self.warnings.push(complaint.at(&place));
        }
    }

    /// Returns the draft at which to go on when draft `index` jumps.
    fn jump_target(&mut self, index: usize) -> Option<usize> {
        let draft = &self.drafts[index];
        let (jump, place) = draft.jump.as_ref()?;
        match jump {
            Jump::Skip(count) => {
                let phase = draft.rule.description.phase;
                let later = self.drafts.iter().enumerate().skip(index + 1);
                let mut same = later.filter(|(_, other)| {
                    let counts = !other.removed && !other.inserted;
                    counts && other.rule.description.phase == phase
                });
                Some(same.nth(*count).map_or(self.drafts.len(), |(end, _)| end))
            }
            Jump::SkipAfter(name) => {
                let marker = self
                    .markers
                    .iter()
                    .find(|(known, end)| known == name && *end > index);
                let by_id = || {
                    let id = name.parse::<u64>().ok()?;
                    let later = self.drafts.iter().enumerate().skip(index + 1);
                    later
                        .filter(|(_, other)| other.rule.description.id == Some(id))
                        .map(|(end, _)| end + 1)
                        .next()
                };
                let target = marker.map(|(_, end)| *end).or_else(by_id);
                if target.is_none() {
                    let complaint = Complaint::new(format!(
                        "skipAfter: there is no marker {name} after this rule"
                    ));
                    let error = complaint.at(place);
                    self.errors.push(error);
                }
                target
            }
        }
    }
}
