//! `ctl`: changes the engine for the rest of one transaction.

use std::sync::Arc;

use crate::{
    body::Processor,
    compile::RuleSelection,
    error::Complaint,
    seclang::{Text, id_range, targets},
    transaction::State,
    variables::{TargetPattern, Variable},
    verdict::EngineMode,
};

/// One `ctl`.
#[derive(Clone, Debug)]
pub(crate) enum ControlAction {
    Engine(EngineMode),
    RequestBodyAccess(bool),
    ResponseBodyAccess(bool),
    ForceRequestBody(bool),
    RequestBodyProcessor(Processor),
    RemoveRules(Arc<RuleSelection>),
    RemoveTarget(Arc<(RuleSelection, TargetPattern)>),
    /// Whether there is an audit entry; `None` where the rules that match decide.
    AuditEngine(Option<bool>),
    /// The parts of an audit entry are the gateway's business.
    AuditLogParts,
}

const KNOWN: &[&str] = &[
    "auditEngine",
    "auditLogParts",
    "forceRequestBodyVariable",
    "requestBodyAccess",
    "requestBodyProcessor",
    "responseBodyAccess",
    "ruleEngine",
    "ruleRemoveById",
    "ruleRemoveByMsg",
    "ruleRemoveByTag",
    "ruleRemoveTargetById",
    "ruleRemoveTargetByMsg",
    "ruleRemoveTargetByTag",
];

const REFUSED: &[&str] = &[
    "debugLogLevel",
    "hashEnforcement",
    "hashEngine",
    "parseXmlIntoArgs",
];

impl ControlAction {
    /// Parses `option=value`.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let Some((option, value)) = text.split_once('=') else {
            return Err(Complaint::new(format!(
                "ctl needs option=value, found {text:?}"
            )));
        };
        let (option, value) = (option.trim(), value.trim());
        Ok(match option.to_ascii_lowercase().as_str() {
            "ruleengine" => Self::Engine(match value.to_ascii_lowercase().as_str() {
                "on" => EngineMode::On,
                "off" => EngineMode::Off,
                "detectiononly" => EngineMode::DetectionOnly,
                _ => {
                    return Err(Complaint::new(format!(
                        "expected On, Off or DetectionOnly, found {value}"
                    )));
                }
            }),
            "requestbodyaccess" => Self::RequestBodyAccess(switch(value)?),
            "responsebodyaccess" => Self::ResponseBodyAccess(switch(value)?),
            "forcerequestbodyvariable" => Self::ForceRequestBody(switch(value)?),
            "requestbodyprocessor" => Self::RequestBodyProcessor(Processor::find(value)?),
            "ruleremovebyid" => {
                Self::RemoveRules(Arc::new(RuleSelection::Ids(vec![id_range(value)?])))
            }
            "ruleremovebytag" => Self::RemoveRules(Arc::new(RuleSelection::tag(value)?)),
            "ruleremovebymsg" => Self::RemoveRules(Arc::new(RuleSelection::message(value)?)),
            "ruleremovetargetbyid" => remove_target(value, |rules| {
                Ok(RuleSelection::Ids(vec![id_range(rules)?]))
            })?,
            "ruleremovetargetbytag" => remove_target(value, RuleSelection::tag)?,
            "ruleremovetargetbymsg" => remove_target(value, RuleSelection::message)?,
            "auditengine" => Self::AuditEngine(match value.to_ascii_lowercase().as_str() {
                "relevantonly" => None,
                _ => Some(switch(value)?),
            }),
            "auditlogparts" => Self::AuditLogParts,
            _ if REFUSED
                .iter()
                .any(|known| known.eq_ignore_ascii_case(option)) =>
            {
                return Err(Complaint::unsupported("ctl option", option));
            }
            _ => {
                return Err(Complaint::unknown(
                    "ctl option",
                    option,
                    KNOWN.iter().copied(),
                ));
            }
        })
    }

    /// Returns the rules that an exclusion means.
    pub(crate) fn exclusion(&self) -> Option<&RuleSelection> {
        match self {
            Self::RemoveRules(rules) => Some(rules),
            Self::RemoveTarget(target) => Some(&target.0),
            _ => None,
        }
    }

    /// Tells whether less is inspected afterwards, or less is refused.
    pub(crate) fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::RemoveRules(_)
                | Self::RemoveTarget(_)
                | Self::Engine(EngineMode::Off | EngineMode::DetectionOnly)
                | Self::RequestBodyAccess(false)
                | Self::ResponseBodyAccess(false)
        )
    }

    /// Makes the change. `most` is the strictest mode that the transaction may have.
    pub(crate) fn apply(&self, state: &mut State, most: EngineMode) {
        let control = &mut state.control;
        match self {
            Self::Engine(mode) => control.mode = (*mode).min(most),
            Self::RequestBodyAccess(access) => control.request_body_access = *access,
            Self::ResponseBodyAccess(access) => control.response_body_access = *access,
            Self::ForceRequestBody(force) => control.force_request_body = *force,
            Self::RequestBodyProcessor(processor) => {
                control.processor = Some(*processor);
                state.processor = Some(*processor);
            }
            // Once, however many values matched: a client must not make the lists long.
            Self::RemoveRules(selection) => add(&mut control.removed, selection),
            Self::RemoveTarget(target) => {
                control.removes_tx |= target.1.variable == Variable::Tx;
                add(&mut control.removed_targets, target);
            }
            Self::AuditEngine(audit) => control.audit = *audit,
            Self::AuditLogParts => {}
        }
    }
}

fn add<T>(list: &mut Vec<Arc<T>>, more: &Arc<T>) {
    if !list.iter().any(|known| Arc::ptr_eq(known, more)) {
        list.push(Arc::clone(more));
    }
}

fn switch(value: &str) -> Result<bool, Complaint> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Complaint::new(format!("expected On or Off, found {value}"))),
    }
}

/// Parses `rules;TARGET`.
fn remove_target(
    value: &str,
    selection: impl Fn(&str) -> Result<RuleSelection, Complaint>,
) -> Result<ControlAction, Complaint> {
    let Some((rules, target)) = value.split_once(';') else {
        return Err(Complaint::new(format!(
            "expected rules;TARGET, found {value:?}"
        )));
    };
    let complaint = |message: String| Complaint::new(format!("{message} in {target:?}"));
    let parsed =
        targets(&Text::standalone(target.trim())).map_err(|error| complaint(error.message))?;
    let [target] = parsed.as_slice() else {
        return Err(complaint("expected one target".into()));
    };
    if target.counted || target.excluded {
        return Err(complaint(
            "a target to remove is written plainly, without & or !".into(),
        ));
    }
    Ok(ControlAction::RemoveTarget(Arc::new((
        selection(rules.trim())?,
        TargetPattern::resolve(target)?,
    ))))
}
