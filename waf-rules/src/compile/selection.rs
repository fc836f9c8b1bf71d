//! Sets of rules, for exclusions.

use regex::Regex;

use super::Description;
use crate::{error::Complaint, seclang::IdRange, variables::reason};

/// Rules by id, tag or message. Tags and messages are searched with a regular
/// expression, as in ModSecurity v2.
#[derive(Clone, Debug)]
pub(crate) enum RuleSelection {
    Ids(Vec<IdRange>),
    Tag(Regex),
    Message(Regex),
}

impl RuleSelection {
    /// Selects by tag.
    pub(crate) fn tag(pattern: &str) -> Result<Self, Complaint> {
        compile(pattern).map(Self::Tag)
    }

    /// Selects by message, as it is written in the rule.
    pub(crate) fn message(pattern: &str) -> Result<Self, Complaint> {
        compile(pattern).map(Self::Message)
    }

    /// Tells whether a rule is selected.
    pub(crate) fn covers(&self, rule: &Description) -> bool {
        match self {
            Self::Ids(ranges) => rule
                .id
                .is_some_and(|id| ranges.iter().any(|range| range.contains(&id))),
            Self::Tag(regex) => rule.tags.iter().any(|tag| regex.is_match(tag)),
            Self::Message(regex) => rule
                .message
                .as_ref()
                .is_some_and(|message| regex.is_match(message)),
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, Complaint> {
    Regex::new(pattern).map_err(|error| {
        Complaint::new(format!(
            "regular expression {pattern:?}: {}",
            reason(&error)
        ))
    })
}
