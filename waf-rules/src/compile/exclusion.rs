//! What takes something out of the inspection, for people who ask for all of it.

use std::fmt::Write;

use serde::Serialize;

use crate::seclang::{ActionText, IdRange, Place, SelectorText, TargetText};

/// A directive or an action that takes a rule, a variable or a part of the traffic out of the
/// inspection: `SecRuleRemoveById` and its kin, exclusions in `SecRuleUpdateTargetById` and its
/// kin, `SecRuleUpdateActionById`, `ctl`, and `allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exclusion {
    /// As it would be written.
    pub text: String,
    /// The rule whose match it depends on; without one it is always in force.
    pub rule: Option<u64>,
    /// Name of the text.
    pub file: String,
    /// Line in that text.
    pub line: u32,
    /// How many rules a directive has changed. For an action that is not known before a
    /// request comes.
    pub rules: Option<usize>,
}

impl Exclusion {
    pub(super) fn new(
        text: String,
        rule: Option<u64>,
        place: &Place,
        rules: Option<usize>,
    ) -> Self {
        Self {
            text,
            rule,
            file: place.file.to_string(),
            line: place.line,
            rules,
        }
    }
}

/// A word in double quotes, in which only these need a backslash.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

pub(super) fn ids_text(ids: &[IdRange]) -> String {
    let one = |range: &IdRange| match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    };
    ids.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub(super) fn targets_text(targets: &[TargetText]) -> String {
    let mut text = String::new();
    for target in targets {
        if !text.is_empty() {
            text.push('|');
        }
        text.push_str(if target.excluded { "!" } else { "" });
        text.push_str(if target.counted { "&" } else { "" });
        text.push_str(&target.name);
        // Writing to a String does not fail.
        let _ = match &target.selector {
            None => Ok(()),
            Some(SelectorText::Name(name)) => write!(text, ":{name}"),
            Some(SelectorText::Regex(regex)) => write!(text, ":/{}/", regex.replace('/', "\\/")),
        };
    }
    text
}

pub(super) fn actions_text(actions: &[ActionText]) -> String {
    let one = |action: &ActionText| match &action.argument {
        Some(argument) => format!("{}:{argument}", action.name),
        None => action.name.clone(),
    };
    actions.iter().map(one).collect::<Vec<_>>().join(",")
}
