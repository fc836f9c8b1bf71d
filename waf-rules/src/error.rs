//! What is wrong with a rule, and where.

use std::fmt;

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
