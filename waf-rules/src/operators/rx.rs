//! `@rx` and `@rxGlobal`: regular expressions over bytes.

use regex_automata::{
    Span,
    meta::{Config, Regex},
};
use regex_syntax::ParserBuilder;

use super::{Captures, dialect::translate};
use crate::{
    error::Complaint,
    prefilter::{Need, required},
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
    need: Need,
    /// `@rxGlobal`: the groups of every match are captured, one behind the other.
    global: bool,
}

impl Rx {
    pub(super) fn compile(pattern: &str) -> Result<Self, Complaint> {
        if Expansion::parse(pattern).is_ok_and(|expansion| expansion.literal().is_none()) {
            return Err(Complaint::new("%{...} in @rx is not supported")
                .hint("use @contains, @streq or @within"));
        }
        let complaint = |reason: String| Complaint::new(format!("regular expression: {reason}"));
        // Read once, for the literals and for the automaton.
        let hir = ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .dot_matches_new_line(true)
            .build()
            .parse(&translate(pattern))
            .map_err(|error| complaint(reason(&error)))?;
        Regex::builder()
            .configure(config())
            .build_from_hir(&hir)
            .map(|regex| Self {
                regex,
                literals: required(&hir),
                need: Need::of(&hir),
                global: false,
            })
            .map_err(|error| complaint(reason(&error)))
    }

    /// The same for every match, and not for the first alone.
    pub(super) fn global(self) -> Self {
        Self {
            global: true,
            ..self
        }
    }

    /// Literals of which every match has one.
    pub(super) fn literals(&self) -> Option<Vec<Vec<u8>>> {
        self.literals.clone()
    }

    /// What every match has.
    pub(super) fn need(&self) -> Need {
        self.need
    }

    /// Looks for a match; groups are only computed when one is found.
    pub(super) fn find(&self, value: &[u8], capture: bool) -> Option<Captures> {
        if !self.regex.is_match(value) {
            return None;
        }
        if !capture {
            return Some(Vec::new());
        }
        let text =
            |group: Option<Span>| group.map_or(Vec::new(), |group| value[group.range()].to_vec());
        let matches = self.regex.captures_iter(value);
        let mut captures = Captures::new();
        for groups in matches.take(if self.global { MAX_GROUPS } else { 1 }) {
            captures.extend(groups.iter().map(text));
        }
        captures.truncate(MAX_GROUPS);
        Some(captures)
    }
}

fn config() -> Config {
    Regex::config()
        .utf8_empty(false)
        .nfa_size_limit(Some(MAX_COMPILED_BYTES))
        // Groups are asked for only after a match, so its own engine is not worth
        // the time that it takes to build.
        .onepass(false)
}
