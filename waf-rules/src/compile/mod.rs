//! Ast -> RuleSet.

use crate::{RuleError, RuleSource, RuleText};

/// A compiled, immutable set of rules.
#[derive(Debug)]
pub struct RuleSet {}

impl RuleSet {
    /// Compiles texts, in order, to one rule set.
    ///
    /// # Errors
    ///
    /// Every problem of every text.
    pub fn compile(_texts: &[RuleText], _source: &dyn RuleSource) -> Result<Self, Vec<RuleError>> {
        Ok(Self {})
    }

    /// Returns the text of the baseline rules; the same as [`baseline`].
    pub fn baseline_text() -> RuleText {
        baseline()
    }

    /// Counts the rules; a chain is one.
    pub fn len(&self) -> usize {
        0
    }

    /// Tells whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether transactions want the request body.
    pub fn inspects_request_body(&self) -> bool {
        true
    }

    /// Tells whether transactions want the response body.
    pub fn inspects_response_body(&self) -> bool {
        false
    }

    /// Returns what is legal but probably not meant.
    pub fn warnings(&self) -> &[RuleError] {
        &[]
    }
}

/// Returns the text of the baseline rules.
pub fn baseline() -> RuleText {
    RuleText {
        name: "baseline.conf".into(),
        text: String::new(),
    }
}
