//! A token of SQL.

use super::{kind::Kind, words};

/// How much of a token is looked at; the rest of a longer one does not count.
pub(super) const LONGEST: usize = 31;

/// A token: its kind, where its first [`LONGEST`] bytes are, and the quotes around it.
///
/// It is small, so that it stays in registers: tokens are made and moved all the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Where it begins in the value.
    pub(super) start: usize,
    /// Its place in the table, where it is several words.
    pub(super) phrase: u16,
    pub(super) length: u8,
    pub(super) kind: Kind,
    /// The quote that begins it; 0 where there is none.
    pub(super) open: u8,
    /// The quote that ends it; 0 where there is none.
    pub(super) close: u8,
}

impl Token {
    /// What stands where no token is.
    pub(super) const NONE: Self = Self::new(Kind::Unknown, 0, 0);

    /// Makes a token without quotes.
    pub(super) const fn new(kind: Kind, start: usize, length: usize) -> Self {
        Self {
            start,
            phrase: 0,
            length: if length < LONGEST {
                length as u8
            } else {
                LONGEST as u8
            },
            kind,
            open: 0,
            close: 0,
        }
    }

    /// Makes a token of a phrase in the table.
    fn of_phrase(phrase: &words::Word) -> Self {
        Self {
            phrase: phrase.place,
            ..Self::new(phrase.kind, 0, 0)
        }
    }

    /// Returns its text, given the value that it is of.
    pub(super) fn text<'a>(&self, value: &'a [u8]) -> &'a [u8] {
        match self.phrase {
            0 => {
                let end = self.start + usize::from(self.length);
                value.get(self.start..end).unwrap_or_default()
            }
            place => words::text(place),
        }
    }

    pub(super) fn is_word(&self, value: &[u8], word: &[u8]) -> bool {
        self.text(value).eq_ignore_ascii_case(word)
    }

    pub(super) fn is_arithmetic_operator(&self, value: &[u8]) -> bool {
        self.kind == Kind::Operator && matches!(self.text(value), b"*" | b"/" | b"-" | b"+" | b"%")
    }

    pub(super) fn is_unary_operator(&self, value: &[u8]) -> bool {
        self.kind == Kind::Operator
            && match self.text(value) {
                b"+" | b"-" | b"!" | b"~" | b"!!" => true,
                text => text.eq_ignore_ascii_case(b"NOT"),
            }
    }

    /// Returns what this token and the next are together: `UNION` `ALL`.
    pub(super) fn merged(&self, next: &Self, value: &[u8]) -> Option<Self> {
        if !may_begin(self.kind) || !(may_begin(next.kind) || next.kind == Kind::LogicOperator) {
            return None;
        }
        words::phrase(self.text(value), next.text(value)).map(Self::of_phrase)
    }
}

/// Tells whether a phrase may begin with a token of this kind.
fn may_begin(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Keyword
            | Kind::Bareword
            | Kind::Operator
            | Kind::Union
            | Kind::Function
            | Kind::Expression
            | Kind::TransactSql
            | Kind::SqlType
    )
}
