//! Walks the directives of the texts.

use std::{collections::HashMap, sync::Arc};

use super::{
    Condition, Decision, Description, Link, PHASES, Rule, RuleSelection, RuleSet, Settings,
};
use crate::{
    actions::{Action, ControlAction, Disruptive, Effect},
    error::{Complaint, RuleError},
    operators::Operator,
    seclang::{self, ActionText, Directive, DirectiveKind, OperatorText, Place, TargetText, Text},
    source::{RuleSource, RuleText},
    transformations::Transformation,
    variables::{Expansion, Target, TargetPattern},
};

/// Depth of `Include`, and thereby the end of a file that includes itself.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Compiles texts.
pub(super) fn compile(
    texts: &[RuleText],
    source: &dyn RuleSource,
) -> Result<RuleSet, Vec<RuleError>> {
    let mut compiler = Compiler {
        source,
        errors: Vec::new(),
        warnings: Vec::new(),
        drafts: Vec::new(),
        open: None,
        ids: HashMap::new(),
        markers: Vec::new(),
        defaults: Default::default(),
        settings: Settings::default(),
    };
    for text in texts {
        compiler.text(&text.name, &text.text, 0);
    }
    compiler.finish()
}

struct Compiler<'a> {
    source: &'a dyn RuleSource,
    errors: Vec<RuleError>,
    warnings: Vec<RuleError>,
    drafts: Vec<Draft>,
    /// A chain that waits for its next link.
    open: Option<Draft>,
    ids: HashMap<u64, Place>,
    /// Names of markers, and how many drafts come before each.
    markers: Vec<(String, usize)>,
    /// By phase.
    defaults: [Defaults; PHASES],
    settings: Settings,
}

/// A rule that still may change or go.
struct Draft {
    rule: Rule,
    removed: bool,
    jump: Option<(Jump, Place)>,
}

enum Jump {
    Skip(usize),
    SkipAfter(String),
}

/// What `SecDefaultAction` says for a phase.
#[derive(Clone, Default)]
struct Defaults {
    disruptive: Option<Disruptive>,
    status: Option<u16>,
    log: Option<bool>,
    audit_log: Option<bool>,
    transformations: Vec<Transformation>,
}

/// The actions of one rule, sorted.
#[derive(Default)]
struct Actions {
    id: Option<u64>,
    phase: Option<u8>,
    message: Option<String>,
    log_data: Option<Expansion>,
    severity: Option<u8>,
    tags: Vec<String>,
    version: Option<String>,
    revision: Option<String>,
    disruptive: Option<Disruptive>,
    status: Option<u16>,
    log: Option<bool>,
    audit_log: Option<bool>,
    capture: bool,
    chain: bool,
    multi_match: bool,
    reset_transformations: bool,
    transformations: Vec<Transformation>,
    jump: Option<Jump>,
    effects: Vec<Effect>,
}

impl Compiler<'_> {
    fn text(&mut self, name: &str, text: &str, depth: usize) {
        let errors_before = self.errors.len();
        let ast = seclang::parse(name, text, &mut self.errors);
        // A directive that could not be read is missing from the tree; what
        // seems wrong with a chain may only be its absence.
        let whole = self.errors.len() == errors_before;
        for directive in ast.directives {
            self.directive(directive, whole, depth);
        }
        self.expect_no_chain(whole);
    }

    fn expect_no_chain(&mut self, whole: bool) {
        if let Some(draft) = self.open.take()
            && let Some(place) = &draft.rule.description.place
            && whole
        {
            self.errors.push(
                Complaint::new("this chain has no end")
                    .hint("a rule must follow its chain")
                    .at(place),
            );
        }
    }

    fn directive(&mut self, directive: Directive, whole: bool, depth: usize) {
        let place = directive.place;
        if !matches!(
            directive.kind,
            DirectiveKind::Rule { .. } | DirectiveKind::Action(_)
        ) {
            self.expect_no_chain(whole);
        }
        match directive.kind {
            DirectiveKind::Rule {
                targets,
                operator,
                actions,
            } => {
                let parts = self.condition(&targets, &operator);
                self.rule(&place, parts, &actions, whole);
            }
            DirectiveKind::Action(actions) => {
                self.rule(
                    &place,
                    Some((Vec::new(), Vec::new(), None)),
                    &actions,
                    whole,
                );
            }
            DirectiveKind::DefaultAction(actions) => self.default_action(&place, &actions),
            DirectiveKind::Marker(name) => self.markers.push((name, self.drafts.len())),
            DirectiveKind::Include(path) => self.include(&path, depth),
            DirectiveKind::RemoveById(ids) => self.remove(&place, &RuleSelection::Ids(ids)),
            DirectiveKind::RemoveByTag(text) => {
                self.select(&text, RuleSelection::tag, |compiler, rules| {
                    compiler.remove(&place, rules)
                });
            }
            DirectiveKind::RemoveByMsg(text) => {
                self.select(&text, RuleSelection::message, |compiler, rules| {
                    compiler.remove(&place, rules)
                });
            }
            DirectiveKind::UpdateTargetById(ids, targets) => {
                self.update_targets(&place, &RuleSelection::Ids(ids), &targets);
            }
            DirectiveKind::UpdateTargetByTag(text, targets) => {
                self.select(&text, RuleSelection::tag, |compiler, rules| {
                    compiler.update_targets(&place, rules, &targets);
                })
            }
            DirectiveKind::UpdateTargetByMsg(text, targets) => {
                self.select(&text, RuleSelection::message, |compiler, rules| {
                    compiler.update_targets(&place, rules, &targets);
                });
            }
            DirectiveKind::Setting(setting) => self.settings.set(setting),
            DirectiveKind::OfTheGateway(name) => {
                let complaint =
                    Complaint::new(format!("{name} has no effect: the gateway decides this"));
                self.warnings.push(complaint.at(&place));
            }
        }
    }

    fn include(&mut self, path: &Text, depth: usize) {
        let place = path.place(0);
        if depth >= MAX_INCLUDE_DEPTH {
            return self
                .errors
                .push(Complaint::new("Include is nested too deeply").at(&place));
        }
        match self.source.read(&path.value) {
            Ok(text) => self.text(&path.value, &text, depth + 1),
            Err(reason) => {
                let complaint = Complaint::new(format!("cannot include {}: {reason}", path.value));
                self.errors.push(complaint.at(&place));
            }
        }
    }

    /// Resolves targets and operator; `None` when there was a problem.
    #[allow(
        clippy::type_complexity,
        reason = "the three parts of one link, taken apart at once"
    )]
    fn condition(
        &mut self,
        targets: &[TargetText],
        operator: &OperatorText,
    ) -> Option<(Vec<Target>, Vec<TargetPattern>, Option<(bool, Operator)>)> {
        let (included, excluded) = self.targets(targets)?;
        if included.is_empty() {
            let place = targets
                .first()
                .map_or(&operator.place, |target| &target.place);
            self.errors
                .push(Complaint::new("there is nothing to look at, only exclusions").at(place));
        }
        match Operator::resolve(&operator.name, &operator.argument, self.source) {
            Ok(resolved) => Some((included, excluded, Some((operator.negated, resolved)))),
            Err(complaint) => {
                self.errors.push(complaint.at(&operator.place));
                None
            }
        }
    }

    /// Resolves targets; `None` when there was a problem.
    fn targets(&mut self, targets: &[TargetText]) -> Option<(Vec<Target>, Vec<TargetPattern>)> {
        let (mut included, mut excluded) = (Vec::new(), Vec::new());
        let errors_before = self.errors.len();
        for target in targets {
            match TargetPattern::resolve(target) {
                Ok(pattern) if target.excluded => excluded.push(pattern),
                Ok(pattern) => included.push(Target {
                    pattern,
                    counted: target.counted,
                }),
                Err(complaint) => self.errors.push(complaint.at(&target.place)),
            }
        }
        (self.errors.len() == errors_before).then_some((included, excluded))
    }

    /// Resolves and sorts the actions of a rule.
    fn actions(&mut self, texts: &[ActionText]) -> Actions {
        let mut actions = Actions::default();
        for text in texts {
            match Action::resolve(&text.name, text.argument.as_deref()) {
                Ok(action) => self.sort(&mut actions, action, text),
                Err(complaint) => self.errors.push(complaint.at(&text.place)),
            }
        }
        actions
    }

    fn sort(&mut self, actions: &mut Actions, action: Action, text: &ActionText) {
        let repeated = match action {
            Action::Id(id) => actions.id.replace(id).is_some(),
            Action::Phase(phase) => actions.phase.replace(phase).is_some(),
            Action::Message(message) => actions.message.replace(message).is_some(),
            Action::LogData(data) => actions.log_data.replace(data).is_some(),
            Action::Severity(severity) => actions.severity.replace(severity).is_some(),
            Action::Version(version) => actions.version.replace(version).is_some(),
            Action::Revision(revision) => actions.revision.replace(revision).is_some(),
            Action::Disruptive(disruptive) => actions.disruptive.replace(disruptive).is_some(),
            Action::Status(status) => actions.status.replace(status).is_some(),
            Action::Skip(count) => actions.jump.replace(Jump::Skip(count)).is_some(),
            Action::SkipAfter(name) => actions.jump.replace(Jump::SkipAfter(name)).is_some(),
            Action::Tag(tag) => {
                actions.tags.push(tag);
                false
            }
            Action::Log(log) => {
                actions.log = Some(log);
                actions.audit_log = Some(actions.audit_log.unwrap_or(log));
                false
            }
            Action::AuditLog(log) => {
                actions.audit_log = Some(log);
                false
            }
            Action::Transformation(None) => {
                actions.reset_transformations = true;
                actions.transformations.clear();
                false
            }
            Action::Transformation(Some(transformation)) => {
                actions.transformations.push(transformation);
                false
            }
            Action::Effect(effect) => {
                if matches!(effect, Effect::Control(ControlAction::AuditLogParts)) {
                    let complaint =
                        Complaint::new("ctl:auditLogParts has no effect: the gateway decides this");
                    self.warnings.push(complaint.at(&text.place));
                }
                actions.effects.push(effect);
                false
            }
            Action::Capture => std::mem::replace(&mut actions.capture, true),
            Action::Chain => std::mem::replace(&mut actions.chain, true),
            Action::MultiMatch => std::mem::replace(&mut actions.multi_match, true),
            Action::Remark => false,
        };
        if repeated {
            self.errors.push(
                Complaint::new(format!("{} contradicts an earlier action", text.name))
                    .at(&text.place),
            );
        }
    }

    /// Adds a rule, or a link to the chain that is open.
    #[allow(
        clippy::type_complexity,
        reason = "the three parts of one link, as condition returns them"
    )]
    fn rule(
        &mut self,
        place: &Place,
        parts: Option<(Vec<Target>, Vec<TargetPattern>, Option<(bool, Operator)>)>,
        texts: &[ActionText],
        whole: bool,
    ) {
        let mut actions = self.actions(texts);
        let open = self.open.take();
        let phase = match &open {
            Some(draft) => draft.rule.description.phase,
            None => actions.phase.unwrap_or(2),
        };
        let defaults = self.defaults[usize::from(phase).saturating_sub(1).min(PHASES - 1)].clone();
        let mut transformations = if actions.reset_transformations {
            Vec::new()
        } else {
            defaults.transformations.clone()
        };
        transformations.append(&mut actions.transformations);
        let (targets, exclusions, operator) = parts.unwrap_or_default();
        let link = Link {
            targets,
            exclusions,
            condition: operator.map(|(negated, operator)| Condition {
                transformations,
                multi_match: actions.multi_match,
                negated,
                operator,
            }),
            capture: actions.capture,
            effects: std::mem::take(&mut actions.effects),
        };
        let chain = actions.chain;
        let draft = match open {
            Some(mut draft) => {
                self.check_link(place, &actions);
                draft.rule.links.push(link);
                draft
            }
            None => {
                self.check_id(place, actions.id, whole);
                head(place, phase, actions, &defaults, link)
            }
        };
        match chain {
            true => self.open = Some(draft),
            false => self.drafts.push(draft),
        }
    }

    fn check_id(&mut self, place: &Place, id: Option<u64>, whole: bool) {
        let Some(id) = id else {
            if whole {
                self.errors
                    .push(Complaint::new("this rule has no id").at(place));
            }
            return;
        };
        if let Some(first) = self.ids.insert(id, place.clone()) {
            let message = format!(
                "id {id} is taken by the rule at {}:{}",
                first.file, first.line
            );
            self.errors.push(Complaint::new(message).at(place));
        }
    }

    /// A later link of a chain has no decision, no name and no jump of its own.
    fn check_link(&mut self, place: &Place, actions: &Actions) {
        let named = [
            ("id", actions.id.is_some()),
            ("phase", actions.phase.is_some()),
            ("msg", actions.message.is_some()),
            ("logdata", actions.log_data.is_some()),
            ("severity", actions.severity.is_some()),
            ("tag", !actions.tags.is_empty()),
            ("ver", actions.version.is_some()),
            ("rev", actions.revision.is_some()),
            ("status", actions.status.is_some()),
            ("skip", actions.jump.is_some()),
            (
                "a disruptive action",
                actions
                    .disruptive
                    .as_ref()
                    .is_some_and(|d| !matches!(d, Disruptive::Pass)),
            ),
        ];
        for (name, _) in named.iter().filter(|(_, present)| *present) {
            self.errors.push(
                Complaint::new(format!("{name} belongs to the first rule of a chain")).at(place),
            );
        }
    }

    fn default_action(&mut self, place: &Place, texts: &[ActionText]) {
        let actions = self.actions(texts);
        let mut complain = |message: &str| self.errors.push(Complaint::new(message).at(place));
        let Some(phase) = actions.phase else {
            return complain("SecDefaultAction needs a phase");
        };
        match &actions.disruptive {
            None => return complain("SecDefaultAction needs a disruptive action, such as pass"),
            Some(Disruptive::Block) => {
                return complain("block means what SecDefaultAction says; it cannot say block");
            }
            Some(_) => {}
        }
        if actions.id.is_some()
            || actions.chain
            || actions.jump.is_some()
            || !actions.effects.is_empty()
        {
            return complain("SecDefaultAction takes no id, chain, skip, setvar or ctl");
        }
        self.defaults[usize::from(phase).saturating_sub(1).min(PHASES - 1)] = Defaults {
            disruptive: actions.disruptive,
            status: actions.status,
            log: actions.log,
            audit_log: actions.audit_log,
            transformations: actions.transformations,
        };
    }

    fn select(
        &mut self,
        text: &Text,
        selection: impl Fn(&str) -> Result<RuleSelection, Complaint>,
        then: impl FnOnce(&mut Self, &RuleSelection),
    ) {
        match selection(&text.value) {
            Ok(rules) => then(self, &rules),
            Err(complaint) => self.errors.push(complaint.at(&text.place(0))),
        }
    }

    fn remove(&mut self, place: &Place, rules: &RuleSelection) {
        let mut any = false;
        for draft in self
            .drafts
            .iter_mut()
            .filter(|draft| rules.covers(&draft.rule.description))
        {
            draft.removed = true;
            any = true;
        }
        self.warn_unless(any, place);
    }

    fn update_targets(&mut self, place: &Place, rules: &RuleSelection, targets: &[TargetText]) {
        let Some((included, excluded)) = self.targets(targets) else {
            return;
        };
        let mut any = false;
        for draft in self
            .drafts
            .iter_mut()
            .filter(|draft| rules.covers(&draft.rule.description))
        {
            // As in ModSecurity, only the first link of a chain changes.
            if let Some(link) = draft.rule.links.first_mut() {
                link.targets.extend(included.iter().cloned());
                link.exclusions.extend(excluded.iter().cloned());
            }
            any = true;
        }
        self.warn_unless(any, place);
    }

    fn warn_unless(&mut self, any: bool, place: &Place) {
        if !any {
            let complaint =
                Complaint::new("this exclusion has no effect: no rule before it is meant")
                    .hint("it must come after the rules that it changes");
            self.warnings.push(complaint.at(place));
        }
    }

    fn finish(mut self) -> Result<RuleSet, Vec<RuleError>> {
        let targets: Vec<Option<usize>> = (0..self.drafts.len())
            .map(|index| self.jump_target(index))
            .collect();
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        self.warn_of_late_exclusions();
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
        let mut phases: [Vec<Rule>; PHASES] = Default::default();
        for (mut draft, position) in self
            .drafts
            .into_iter()
            .zip(positions)
            .filter(|(draft, _)| !draft.removed)
        {
            draft.rule.continue_at = position;
            let phase = usize::from(draft.rule.description.phase).saturating_sub(1);
            if let Some(rules) = phases.get_mut(phase) {
                rules.push(draft.rule);
            }
        }
        Ok(RuleSet {
            phases,
            settings: self.settings,
            warnings: self.warnings,
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
                Effect::SetVariable(_) => None,
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

    /// Returns the draft at which to go on when draft `index` jumps.
    fn jump_target(&mut self, index: usize) -> Option<usize> {
        let draft = &self.drafts[index];
        let (jump, place) = draft.jump.as_ref()?;
        match jump {
            Jump::Skip(count) => {
                let phase = draft.rule.description.phase;
                let later = self.drafts.iter().enumerate().skip(index + 1);
                let mut same = later
                    .filter(|(_, other)| !other.removed && other.rule.description.phase == phase);
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

/// Makes the draft of a rule from its first link.
fn head(place: &Place, phase: u8, actions: Actions, defaults: &Defaults, link: Link) -> Draft {
    let decision = decision(actions.disruptive, actions.status, defaults);
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
            place: Some(place.clone()),
        }),
        log_data: actions.log_data,
        decision,
        log,
        audit_log: actions.audit_log.or(defaults.audit_log).unwrap_or(log),
        continue_at: None,
        links: vec![link],
    };
    Draft {
        rule,
        removed: false,
        jump: actions.jump.map(|jump| (jump, place.clone())),
    }
}

/// Resolves what a rule decides.
fn decision(disruptive: Option<Disruptive>, status: Option<u16>, defaults: &Defaults) -> Decision {
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
