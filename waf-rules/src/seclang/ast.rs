//! The syntax tree of SecLang.

use std::ops::RangeInclusive;

use super::lexer::{Place, Text};
use crate::{limits::BodyOverLimit, verdict::EngineMode};

/// An inclusive range of rule ids.
pub(crate) type IdRange = RangeInclusive<u64>;

/// The directives of one text, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ast {
    pub(crate) directives: Vec<Directive>,
}

/// One directive and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    pub(crate) place: Place,
    pub(crate) kind: DirectiveKind,
}

/// What a directive says.
#[derive(Clone, Debug)]
pub(crate) enum DirectiveKind {
    /// `SecRule VARIABLES OPERATOR [ACTIONS]`
    Rule {
        targets: Vec<TargetText>,
        operator: OperatorText,
        actions: Vec<ActionText>,
    },
    /// `SecAction ACTIONS`
    Action(Vec<ActionText>),
    /// `SecDefaultAction ACTIONS`
    DefaultAction(Vec<ActionText>),
    /// `SecMarker NAME`
    Marker(String),
    /// `Include PATH`
    Include(Text),
    /// `SecRuleRemoveById ID-OR-RANGE…`
    RemoveById(Vec<IdRange>),
    /// `SecRuleRemoveByTag REGEX`
    RemoveByTag(Text),
    /// `SecRuleRemoveByMsg REGEX`
    RemoveByMsg(Text),
    /// `SecRuleUpdateTargetById ID-OR-RANGE TARGETS`
    UpdateTargetById(Vec<IdRange>, Vec<TargetText>),
    /// `SecRuleUpdateTargetByTag REGEX TARGETS`
    UpdateTargetByTag(Text, Vec<TargetText>),
    /// `SecRuleUpdateTargetByMsg REGEX TARGETS`
    UpdateTargetByMsg(Text, Vec<TargetText>),
    /// `SecRuleUpdateActionById ID-OR-RANGE[:LINK] ACTIONS`; the links of a chain
    /// count from 0.
    UpdateActionById {
        ids: Vec<IdRange>,
        link: usize,
        actions: Vec<ActionText>,
    },
    /// A setting of the engine.
    Setting(Setting),
    /// A setting of ModSecurity that belongs to the gateway here.
    OfTheGateway(String),
}

/// A setting of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    RuleEngine(EngineMode),
    RequestBodyAccess(bool),
    RequestBodyLimit(usize),
    RequestBodyNoFilesLimit(usize),
    RequestBodyLimitAction(BodyOverLimit),
    RequestBodyJsonDepthLimit(usize),
    ResponseBodyAccess(bool),
    ResponseBodyLimit(usize),
    ResponseBodyLimitAction(BodyOverLimit),
    ResponseBodyMimeType(Vec<String>),
    ArgumentsLimit(usize),
    UploadFileLimit(usize),
    ArgumentSeparator(u8),
    CollectionTimeout(u64),
    ComponentSignature(String),
    /// In upper case.
    AuditLogParts(String),
}

/// One variable of a target list, such as `&ARGS:/^a/`.
#[derive(Clone, Debug)]
pub(crate) struct TargetText {
    pub(crate) place: Place,
    /// `!`: the variable is taken out of the others.
    pub(crate) excluded: bool,
    /// `&`: the number of values instead of the values.
    pub(crate) counted: bool,
    pub(crate) name: String,
    pub(crate) selector: Option<SelectorText>,
}

/// What follows the colon of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SelectorText {
    Name(String),
    Regex(String),
}

/// An operator, such as `!@rx ^a`. The name is `rx` where none is written.
#[derive(Clone, Debug)]
pub(crate) struct OperatorText {
    pub(crate) place: Place,
    pub(crate) negated: bool,
    pub(crate) name: String,
    pub(crate) argument: String,
}

/// One action, such as `t:lowercase`.
#[derive(Clone, Debug)]
pub(crate) struct ActionText {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) argument: Option<String>,
}
