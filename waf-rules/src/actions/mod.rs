//! What a rule does, and what is known about it.
//!
//! One enum, one match. Source: "Actions", ModSecurity v3 reference manual.

mod control;
mod open_collection;
mod sanitise;
mod set_variable;
mod severity;

pub(crate) use control::ControlAction;
pub(crate) use open_collection::OpenCollection;
pub(crate) use sanitise::{Sanitise, Sanitised};
pub(crate) use set_variable::SetVariable;

use crate::{
    collections::Collection, error::Complaint, transformations::Transformation,
    variables::Expansion,
};

/// One action of a rule.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Id(u64),
    Phase(u8),
    Message(String),
    LogData(Expansion),
    Severity(u8),
    Tag(String),
    Version(String),
    Revision(String),
    Maturity(u8),
    Accuracy(u8),
    Disruptive(Disruptive),
    Status(u16),
    Log(bool),
    AuditLog(bool),
    Capture,
    Chain,
    MultiMatch,
    /// `t:none` is `None`: forget the transformations so far.
    Transformation(Option<Transformation>),
    Skip(usize),
    SkipAfter(String),
    Effect(Effect),
}

/// What a rule does to the stream of requests.
#[derive(Clone, Debug)]
pub(crate) enum Disruptive {
    Pass,
    /// What `SecDefaultAction` says for the phase.
    Block,
    Deny,
    Drop,
    Redirect(Expansion),
    Allow(Scope),
}

/// What `allow` skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every later rule save those of phase 5.
    Everything,
    /// The rest of this phase.
    Phase,
    /// The request phases.
    Request,
}

/// What a rule does to the transaction.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    OpenCollection(OpenCollection),
    SetVariable(SetVariable),
    Control(ControlAction),
    Sanitise(Sanitise),
}

/// Names of the actions that are here.
const KNOWN: &[&str] = &[
    "accuracy",
    "allow",
    "auditlog",
    "block",
    "capture",
    "chain",
    "ctl",
    "deny",
    "deprecatevar",
    "drop",
    "expirevar",
    "id",
    "initcol",
    "log",
    "logdata",
    "maturity",
    "msg",
    "multiMatch",
    "noauditlog",
    "nolog",
    "pass",
    "phase",
    "redirect",
    "rev",
    "sanitiseArg",
    "sanitiseMatched",
    "sanitiseMatchedBytes",
    "sanitiseRequestHeader",
    "sanitiseResponseHeader",
    "setrsc",
    "setsid",
    "setuid",
    "setvar",
    "severity",
    "skip",
    "skipAfter",
    "status",
    "t",
    "tag",
    "ver",
];

/// Names of the actions of ModSecurity that are not.
const REFUSED: &[&str] = &[
    "append", "exec", "pause", "prepend", "proxy", "setenv", "xmlns",
];

impl Action {
    /// Makes an action from its SecLang name, in any case, and its argument.
    pub(crate) fn resolve(name: &str, argument: Option<&str>) -> Result<Self, Complaint> {
        let lower = name.to_ascii_lowercase();
        let wanted = || match argument {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Complaint::new(format!("{name} needs an argument"))),
        };
        let bare = |action| match argument {
            None => Ok(action),
            Some(text) => Err(Complaint::new(format!(
                "{name} takes no argument, found {text:?}"
            ))),
        };
        let number = |least: u64, most: u64| match wanted()?.trim().parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(Complaint::new(format!(
                "{name} is a number from {least} to {most}"
            ))),
        };
        let open = |opened: Result<_, _>| Ok(Self::Effect(Effect::OpenCollection(opened?)));
        let sanitise = |what| Ok(Self::Effect(Effect::Sanitise(what)));
        let set = |change: Result<_, _>| Ok(Self::Effect(Effect::SetVariable(change?)));
        match lower.as_str() {
            "id" => Ok(Self::Id(number(1, u64::MAX)?)),
            "phase" => Ok(Self::Phase(phase(wanted()?)?)),
            "msg" => Expansion::parse(wanted()?)
                .map(|_| Self::Message(argument.unwrap_or_default().to_owned())),
            "logdata" => Ok(Self::LogData(Expansion::parse(wanted()?)?)),
            "severity" => Ok(Self::Severity(severity::parse(wanted()?)?)),
            "tag" => Expansion::parse(wanted()?)
                .map(|_| Self::Tag(argument.unwrap_or_default().to_owned())),
            "ver" => Ok(Self::Version(wanted()?.to_owned())),
            "rev" => Ok(Self::Revision(wanted()?.to_owned())),
            "maturity" => Ok(Self::Maturity(number(0, 9)? as u8)),
            "accuracy" => Ok(Self::Accuracy(number(0, 9)? as u8)),
            "sanitisearg" | "sanitizearg" => sanitise(Sanitise::Argument(wanted()?.into())),
            "sanitiserequestheader" | "sanitizerequestheader" => {
                sanitise(Sanitise::RequestHeader(wanted()?.into()))
            }
            "sanitiseresponseheader" | "sanitizeresponseheader" => {
                sanitise(Sanitise::ResponseHeader(wanted()?.into()))
            }
            // Of bytes alone nothing is left either: more is hidden than was asked for.
            "sanitisematched"
            | "sanitizematched"
            | "sanitisematchedbytes"
            | "sanitizematchedbytes" => sanitise(Sanitise::Matched),
            "pass" => bare(Self::Disruptive(Disruptive::Pass)),
            "block" => bare(Self::Disruptive(Disruptive::Block)),
            "deny" => bare(Self::Disruptive(Disruptive::Deny)),
            "drop" => bare(Self::Disruptive(Disruptive::Drop)),
            "redirect" => Ok(Self::Disruptive(Disruptive::Redirect(Expansion::parse(
                wanted()?,
            )?))),
            "allow" => Ok(Self::Disruptive(Disruptive::Allow(scope(argument)?))),
            "status" => {
                number(200, 599).map(|number| Self::Status(u16::try_from(number).unwrap_or(403)))
            }
            "log" => bare(Self::Log(true)),
            "nolog" => bare(Self::Log(false)),
            "auditlog" => bare(Self::AuditLog(true)),
            "noauditlog" => bare(Self::AuditLog(false)),
            "capture" => bare(Self::Capture),
            "chain" => bare(Self::Chain),
            "multimatch" => bare(Self::MultiMatch),
            "t" => match wanted()? {
                text if text.eq_ignore_ascii_case("none") => Ok(Self::Transformation(None)),
                text => Transformation::find(text).map(|found| Self::Transformation(Some(found))),
            },
            "skip" => number(1, 1 << 20)
                .map(|number| Self::Skip(usize::try_from(number).unwrap_or(usize::MAX))),
            "skipafter" => Ok(Self::SkipAfter(wanted()?.to_owned())),
            "initcol" => open(OpenCollection::parse(wanted()?)),
            "setrsc" => open(OpenCollection::of(Collection::Resource, wanted()?)),
            "setsid" => open(OpenCollection::of(Collection::Session, wanted()?)),
            "setuid" => open(OpenCollection::of(Collection::User, wanted()?)),
            "expirevar" => set(SetVariable::parse_expiry(wanted()?)),
            "deprecatevar" => set(SetVariable::parse_deprecation(wanted()?)),
            "setvar" => set(SetVariable::parse(wanted()?)),
            "ctl" => Ok(Self::Effect(Effect::Control(ControlAction::parse(
                wanted()?,
            )?))),
            _ if REFUSED.iter().any(|known| known.eq_ignore_ascii_case(name)) => {
                Err(Complaint::unsupported("action", name))
            }
            _ => Err(Complaint::unknown("action", name, KNOWN.iter().copied())),
        }
    }
}

fn phase(text: &str) -> Result<u8, Complaint> {
    match text.to_ascii_lowercase().as_str() {
        "1" => Ok(1),
        "2" | "request" => Ok(2),
        "3" => Ok(3),
        "4" | "response" => Ok(4),
        "5" | "logging" => Ok(5),
        _ => Err(Complaint::new(format!(
            "phase is 1 to 5, request, response or logging, found {text:?}"
        ))),
    }
}

fn scope(argument: Option<&str>) -> Result<Scope, Complaint> {
    match argument.map(str::to_ascii_lowercase).as_deref() {
        None => Ok(Scope::Everything),
        Some("phase") => Ok(Scope::Phase),
        Some("request") => Ok(Scope::Request),
        Some(other) => Err(Complaint::new(format!(
            "allow takes phase or request, found {other:?}"
        ))),
    }
}
