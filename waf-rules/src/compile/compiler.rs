//! Walks the directives of the texts.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use sha2::Sha256;

use super::{
    Condition, Exclusion, Link, PHASES, RuleSelection, RuleSet, Settings,
    draft::{Actions, Defaults, Draft, Jump, head},
    exclusion::{actions_text, ids_text, quoted, targets_text},
    expressions::Expressions,
};
use crate::{
    actions::{Action, ControlAction, Disruptive, Effect},
    error::{Complaint, RuleError},
    operators::Operator,
    seclang::{
        self, ActionText, Directive, DirectiveKind, IdRange, OperatorText, Place, Setting,
        TargetText, Text,
    },
    source::{Beside, RuleSource, RuleText, hash_text},
    variables::{Target, TargetPattern},
};

/// Depth of `Include`, and thereby the end of a file that includes itself.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Compiles texts.
pub(super) fn compile(
    texts: &[RuleText],
    source: &dyn RuleSource,
) -> Result<RuleSet, Vec<RuleError>> {
    let mut compiler = Compiler::new(source);
    compiler.texts(texts);
    compiler.finish(None)
}

pub(super) struct Compiler<'a> {
    pub(super) source: &'a dyn RuleSource,
    pub(super) errors: Vec<RuleError>,
    pub(super) warnings: Vec<RuleError>,
    pub(super) drafts: Vec<Draft>,
    /// A chain that waits for its next link.
    pub(super) open: Option<Draft>,
    pub(super) ids: HashMap<u64, Place>,
    /// Names of markers, and how many drafts come before each.
    pub(super) markers: Vec<(String, usize)>,
    /// By phase.
    pub(super) defaults: [Defaults; PHASES],
    pub(super) settings: Settings,
    pub(super) exclusions: Vec<Exclusion>,
    /// Those of the text that is walked.
    expressions: Expressions,
    /// Of every text that was read.
    pub(super) hash: RefCell<Sha256>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(source: &'a dyn RuleSource) -> Self {
        Self {
            source,
            errors: Vec::new(),
            warnings: Vec::new(),
            drafts: Vec::new(),
            open: None,
            ids: HashMap::new(),
            markers: Vec::new(),
            defaults: Default::default(),
            settings: Settings::default(),
            exclusions: Vec::new(),
            expressions: Expressions::default(),
            hash: RefCell::default(),
        }
    }

    /// Takes texts, in order.
    pub(super) fn texts(&mut self, texts: &[RuleText]) {
        for text in texts {
            self.text(&text.name, &text.text, 0);
        }
    }
}

/// The operator of a link.
struct Asked {
    negated: bool,
    operator: Operator,
    text: Box<str>,
}

/// Bytes of the text of an operator that are kept.
const MAX_OPERATOR_TEXT: usize = 200;

impl Compiler<'_> {
    fn text(&mut self, name: &str, text: &str, depth: usize) {
        let errors_before = self.errors.len();
        hash_text(&self.hash, text);
        let ast = seclang::parse(name, text, &mut self.errors);
        // A directive that could not be read is missing from the tree; what
        // seems wrong with a chain may only be its absence.
        let whole = self.errors.len() == errors_before;
        let before = std::mem::replace(&mut self.expressions, Expressions::of(&ast.directives));
        for directive in ast.directives {
            self.directive(directive, whole, depth);
        }
        self.expressions = before;
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
            DirectiveKind::RemoveById(ids) => {
                let written = format!("SecRuleRemoveById {}", ids_text(&ids));
                self.remove(&place, &RuleSelection::Ids(ids), written);
            }
            DirectiveKind::RemoveByTag(text) => {
                let written = format!("SecRuleRemoveByTag {}", text.value);
                self.select(&text, RuleSelection::tag, |compiler, rules| {
                    compiler.remove(&place, rules, written)
                });
            }
            DirectiveKind::RemoveByMsg(text) => {
                let written = format!("SecRuleRemoveByMsg {}", quoted(&text.value));
                self.select(&text, RuleSelection::message, |compiler, rules| {
                    compiler.remove(&place, rules, written)
                });
            }
            DirectiveKind::UpdateActionById { ids, link, actions } => {
                self.update_actions(&place, ids, link, &actions);
            }
            DirectiveKind::UpdateTargetById(ids, targets) => {
                let written = format!("SecRuleUpdateTargetById {}", ids_text(&ids));
                self.update_targets(&place, &RuleSelection::Ids(ids), &targets, written);
            }
            DirectiveKind::UpdateTargetByTag(text, targets) => {
                let written = format!("SecRuleUpdateTargetByTag {}", text.value);
                self.select(&text, RuleSelection::tag, |compiler, rules| {
                    compiler.update_targets(&place, rules, &targets, written);
                })
            }
            DirectiveKind::UpdateTargetByMsg(text, targets) => {
                let written = format!("SecRuleUpdateTargetByMsg {}", quoted(&text.value));
                self.select(&text, RuleSelection::message, |compiler, rules| {
                    compiler.update_targets(&place, rules, &targets, written);
                });
            }
            DirectiveKind::Setting(setting) => {
                if let Setting::AuditLogParts(parts) = &setting
                    && parts.contains(['C', 'E', 'I', 'J'])
                {
                    let complaint = Complaint::new(
                        "parts C, E, I and J have no effect: bodies are never written down",
                    );
                    self.warnings.push(complaint.at(&place));
                }
                self.settings.set(setting);
            }
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
        let refusal = |name: &str, reason: String| {
            Complaint::new(format!("cannot include {name}: {reason}")).at(&place)
        };
        let names = match self.source.included(&path.value, &place.file) {
            Ok(names) => names,
            Err(reason) => return self.errors.push(refusal(&path.value, reason)),
        };
        for name in names {
            match self.source.read(&name) {
                Ok(text) => self.text(&name, &text, depth + 1),
                Err(reason) => self.errors.push(refusal(&name, reason)),
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
    ) -> Option<(Vec<Target>, Vec<TargetPattern>, Option<Asked>)> {
        let (included, excluded) = self.targets(targets)?;
        if included.is_empty() {
            let place = targets
                .first()
                .map_or(&operator.place, |target| &target.place);
            self.errors
                .push(Complaint::new("there is nothing to look at, only exclusions").at(place));
        }
        let files = Beside {
            source: self.source,
            text: &operator.place.file,
            hash: &self.hash,
        };
        let (name, argument) = (&operator.name, &operator.argument);
        let made = self.expressions.get(name, argument);
        match made.unwrap_or_else(|| Operator::resolve(name, argument, &files)) {
            Ok(resolved) => {
                let asked = Asked {
                    negated: operator.negated,
                    operator: resolved,
                    text: operator_text(operator),
                };
                Some((included, excluded, Some(asked)))
            }
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
                if let Effect::Control(control) = &effect
                    && control.takes_away()
                {
                    let argument = text.argument.as_deref().unwrap_or_default();
                    actions.exclusions.push(format!("{}:{argument}", text.name));
                }
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
            Action::Maturity(maturity) => actions.maturity.replace(maturity).is_some(),
            Action::Accuracy(accuracy) => actions.accuracy.replace(accuracy).is_some(),
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
        parts: Option<(Vec<Target>, Vec<TargetPattern>, Option<Asked>)>,
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
            condition: operator.map(|asked| Condition {
                transformations,
                multi_match: actions.multi_match,
                negated: asked.negated,
                operator: Arc::new(asked.operator),
                operator_text: asked.text,
                number: None,
                chain: 0,
                group: None,
                units: Vec::new(),
            }),
            capture: actions.capture,
            effects: std::mem::take(&mut actions.effects),
        };
        let chain = actions.chain;
        let by = match &open {
            Some(draft) => draft.rule.description.id,
            None => actions.id,
        };
        if let Some(Disruptive::Allow(_)) = &actions.disruptive {
            actions.exclusions.push("allow".to_owned());
        }
        for text in std::mem::take(&mut actions.exclusions) {
            self.exclusions.push(Exclusion::new(text, by, place, None));
        }
        let draft = match open {
            Some(mut draft) => {
                self.check_link(place, &actions);
                Arc::make_mut(&mut draft.rule).links.push(link);
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

    fn remove(&mut self, place: &Place, rules: &RuleSelection, written: String) {
        let mut changed = 0;
        for draft in self
            .drafts
            .iter_mut()
            .filter(|draft| rules.covers(&draft.rule.description))
        {
            draft.removed = true;
            changed += 1;
        }
        self.exclusions
            .push(Exclusion::new(written, None, place, Some(changed)));
        self.warn_unless(changed > 0, place);
    }

    fn update_targets(
        &mut self,
        place: &Place,
        rules: &RuleSelection,
        targets: &[TargetText],
        written: String,
    ) {
        let Some((included, excluded)) = self.targets(targets) else {
            return;
        };
        let mut changed = 0;
        for draft in self
            .drafts
            .iter_mut()
            .filter(|draft| rules.covers(&draft.rule.description))
        {
            // As in ModSecurity, only the first link of a chain changes.
            if let Some(link) = Arc::make_mut(&mut draft.rule).links.first_mut() {
                link.targets.extend(included.iter().cloned());
                link.exclusions.extend(excluded.iter().cloned());
            }
            changed += 1;
        }
        if !excluded.is_empty() {
            let written = format!("{written} {}", quoted(&targets_text(targets)));
            self.exclusions
                .push(Exclusion::new(written, None, place, Some(changed)));
        }
        self.warn_unless(changed > 0, place);
    }

    /// Changes actions of one link of a chain; the first has those of the rule.
    fn update_actions(
        &mut self,
        place: &Place,
        ids: Vec<IdRange>,
        link: usize,
        texts: &[ActionText],
    ) {
        let written = format!(
            "SecRuleUpdateActionById {}:{link} {}",
            ids_text(&ids),
            quoted(&actions_text(texts))
        );
        let rules = RuleSelection::Ids(ids);
        let actions = self.actions(texts);
        if actions.id.is_some() || actions.phase.is_some() || actions.chain {
            let complaint = Complaint::new("the id, phase and chain of a rule cannot be changed");
            return self.errors.push(complaint.at(place));
        }
        if link > 0 {
            self.check_link(place, &actions);
        }
        let meant = |draft: &&mut Draft| rules.covers(&draft.rule.description);
        let mut changed = 0;
        for draft in self.drafts.iter_mut().filter(meant) {
            changed += usize::from(draft.update(link, &actions, place));
        }
        self.exclusions
            .push(Exclusion::new(written, None, place, Some(changed)));
        self.warn_unless(changed > 0, place);
    }

    fn warn_unless(&mut self, any: bool, place: &Place) {
        if !any {
            let complaint =
                Complaint::new("this exclusion has no effect: no rule before it is meant")
                    .hint("it must come after the rules that it changes");
            self.warnings.push(complaint.at(place));
        }
    }
}

/// An operator as it is written, cut.
fn operator_text(operator: &OperatorText) -> Box<str> {
    let negation = if operator.negated { "!" } else { "" };
    let argument = &operator.argument;
    let end = argument.floor_char_boundary(MAX_OPERATOR_TEXT);
    let rest = if end < argument.len() { "..." } else { "" };
    let text = format!("{negation}@{} {}{rest}", operator.name, &argument[..end]);
    text.trim_end().into()
}
