//! A rule set that differs little from another.
//!
//! ```text
//! RuleSet --its drafts--> before, [drafts], after --finish--> RuleSet
//!                             \-settings at their place          shares rules and plan
//! ```
//!
//! The whole CRS takes tens of megabytes and a quarter of a second; a route with
//! other exclusions must cost neither.

use super::{
    PHASES, RuleSet,
    compiler::Compiler,
    draft::{Defaults, Draft},
};
use crate::{
    error::{Complaint, RuleError},
    seclang::Place,
    source::{NoFiles, RuleSource, RuleText, hash_text},
    variables::Variable,
};

/// What is to be different.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Texts that come before all rules.
    pub before: &'a [RuleText],
    /// Variables of `TX` that the rules give a default in phase 1, without `tx.`, and
    /// their values: `blocking_paranoia_level` of CRS, for one. They are set just before
    /// the first rule that looks whether they are set, so that they count more than
    /// what the rules say before. `skip`, `skipAfter` and `allow` do not go past them.
    pub settings: &'a [(&'a str, u64)],
    /// Texts that come behind all rules; exclusions by `SecRuleRemoveById` and its kin
    /// are among them.
    pub after: &'a [RuleText],
}

/// What changes begin with: the rules before jumps are positions.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) drafts: Vec<Draft>,
    pub(super) markers: Vec<(String, usize)>,
    pub(super) defaults: [Defaults; PHASES],
}

impl RuleSet {
    /// Makes a rule set that differs from this one. What is the same is shared: rules,
    /// their automatons and the prefilter. Rules that are added look at every value
    /// for themselves, so they should be few.
    ///
    /// The warnings of the result are those of the change.
    ///
    /// # Errors
    ///
    /// Every problem of the texts, as for [`RuleSet::compile`]; a setting that no rule
    /// looks at, as an error in a file named `settings`; a set that is itself the result
    /// of a change.
    pub fn change(
        &self,
        change: &Change<'_>,
        source: &dyn RuleSource,
    ) -> Result<Self, Vec<RuleError>> {
        let Some(base) = &self.base else {
            let complaint = Complaint::new("a rule set that was changed cannot be changed again");
            return Err(vec![complaint.at(&settings_place())]);
        };
        let mut compiler = Compiler::new(source);
        compiler.ids = ids(&base.drafts);
        compiler.texts(change.before);
        let before = std::mem::take(&mut compiler.settings);
        compiler.settings = self.settings.clone().behind(before);
        let front = compiler.drafts.len();
        let markers = base.markers.iter().cloned();
        compiler
            .markers
            .extend(markers.map(|(name, at)| (name, at + front)));
        compiler.drafts.extend(base.drafts.iter().cloned());
        compiler.exclusions.extend(self.exclusions.iter().cloned());
        hash_text(&compiler.hash, &self.hash);
        compiler.defaults = base.defaults.clone();
        compiler.texts(change.after);
        for (name, value) in change.settings {
            compiler.setting(name, *value);
        }
        let mut changed = compiler.finish(Some(self.plan.clone()))?;
        changed
            .warnings
            .retain(|warning| !self.warnings.contains(warning));
        Ok(changed)
    }
}

impl Compiler<'_> {
    /// Sets a variable before the first rule that looks at it.
    fn setting(&mut self, name: &str, value: u64) {
        let looks = |draft: &Draft| {
            let mut targets = draft.rule.links.iter().flat_map(|link| &link.targets);
            !draft.removed
                && draft.rule.description.phase == 1
                && targets.any(|target| {
                    target.counted
                        && target.pattern.variable == Variable::Tx
                        && target.pattern.selector.is_name(name.as_bytes())
                })
        };
        let Some(at) = self.drafts.iter().position(looks) else {
            let complaint = Complaint::new(format!(
                "no rule gives tx.{name} a default in phase 1, so it would have no effect"
            ));
            return self.errors.push(complaint.at(&settings_place()));
        };
        let text = format!("SecAction \"id:1,phase:1,pass,nolog,setvar:tx.{name}={value}\"\n");
        hash_text(&self.hash, &text);
        let mut own = Compiler::new(&NoFiles);
        own.texts(&[RuleText {
            name: SETTINGS.into(),
            text,
        }]);
        self.errors.append(&mut own.errors);
        // No rule can be meant by the number, which is nobody's.
        for draft in &mut own.drafts {
            draft.forget_id();
            draft.inserted = true;
        }
        let count = own.drafts.len();
        self.drafts.splice(at..at, own.drafts);
        for (_, end) in self.markers.iter_mut().filter(|(_, end)| *end > at) {
            *end += count;
        }
    }
}

const SETTINGS: &str = "settings";

fn settings_place() -> Place {
    Place {
        file: SETTINGS.into(),
        line: 1,
        column: 1,
    }
}

fn ids(drafts: &[Draft]) -> std::collections::HashMap<u64, Place> {
    let known = drafts.iter().filter_map(|draft| {
        let description = &draft.rule.description;
        Some((description.id?, description.place.clone()?))
    });
    known.collect()
}
