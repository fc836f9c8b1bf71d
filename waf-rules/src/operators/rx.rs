//! `@rx`: regular expressions over bytes.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use super::{Captures, dialect::translate};
use crate::{
    error::Complaint,
    prefilter::required,
    variables::{Expansion, reason},
};

/// Bytes that one compiled expression may take; the largest of CRS need about
/// a tenth of it.
const MAX_COMPILED_BYTES: usize = 32 << 20;

/// Groups that become `TX:0` to `TX:9`.
const MAX_GROUPS: usize = 10;

/// A compiled expression.
///
/// As in ModSecurity v2, `.` matches every byte and `$` only the very end, and
/// letters mean ASCII. Matching takes time linear in the value, whatever the
/// expression; those that need backtracking (look-around, back-references,
/// atomic groups) are refused.
#[derive(Clone, Debug)]
pub(crate) struct Rx {
    regex: Regex,
    literals: Option<Vec<Vec<u8>>>,
}

impl Rx {
    pub(super) fn compile(pattern: &str) -> Result<Self, Complaint> {
        if Expansion::parse(pattern).is_ok_and(|expansion| expansion.literal().is_none()) {
            return Err(Complaint::new("%{...} in @rx is not supported")
                .hint("use @contains, @streq or @within"));
        }
        let pattern = translate(pattern);
        RegexBuilder::new(&pattern)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(MAX_COMPILED_BYTES)
            .build()
            .map(|regex| Self {
                regex,
                literals: literals(&pattern),
            })
            .map_err(|error| Complaint::new(format!("regular expression: {}", reason(&error))))
    }

    /// Literals of which every match has one.
    pub(super) fn literals(&self) -> Option<Vec<Vec<u8>>> {
        self.literals.clone()
    }

    /// Looks for a match; groups are only computed when one is found.
    pub(super) fn find(&self, value: &[u8], capture: bool) -> Option<Captures> {
        if !self.regex.is_match(value) {
            return None;
        }
        if !capture {
            return Some(Vec::new());
        }
        let groups = self.regex.captures(value)?;
        let text = |group: Option<regex::bytes::Match<'_>>| {
            group.map_or(Vec::new(), |group| group.as_bytes().to_vec())
        };
        Some(groups.iter().take(MAX_GROUPS).map(text).collect())
    }
}

/// The literals of an expression, read with the settings that it is compiled with.
fn literals(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .build()
        .parse(pattern)
        .ok()?;
    required(&hir)
}
