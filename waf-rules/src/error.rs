//! What is wrong with a rule, and where.

use std::fmt;

use crate::{seclang::Place, suggest};

/// One problem in the text of a rule set.
///
/// Printed as `file:line:column: message`, followed by the hint in brackets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// Name of the rule text, as given in [`crate::RuleText::name`] or in `Include`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong; names the offending word.
    pub message: String,
    /// What the author may have meant, or what to do.
    pub hint: Option<String>,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// What is wrong, before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Complaint {
    /// Makes a complaint without a hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds a hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Makes the complaint about a name that is neither known nor refused.
    pub(crate) fn unknown<'a>(
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            message: format!("unknown {kind} {name}"),
            hint: suggest::hint(name, known),
        }
    }

    /// Makes the complaint about something ModSecurity has and this engine has not.
    pub(crate) fn unsupported(kind: &str, name: &str) -> Self {
        Self::new(format!("{kind} {name} is not supported"))
    }

    /// Gives the complaint its place.
    pub(crate) fn at(self, place: &Place) -> RuleError {
        RuleError {
            file: place.file.to_string(),
            line: place.line,
            column: place.column,
            message: self.message,
            hint: self.hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RuleError;

    #[test]
    fn an_error_prints_its_place_first() {
        let error = RuleError {
            file: "a.conf".into(),
            line: 3,
            column: 9,
            message: "unknown variable ARG".into(),
            hint: Some("did you mean ARGS?".into()),
        };
        assert_eq!(
            error.to_string(),
            "a.conf:3:9: unknown variable ARG (did you mean ARGS?)"
        );
    }
}
