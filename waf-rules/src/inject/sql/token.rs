//! A token of SQL.

use super::{kind::Kind, words};

/// How much of a token is looked at; the rest of a longer one does not count.
pub(super) const LONGEST: usize = 31;

/// A token: its kind, its first [`LONGEST`] bytes, and the quotes around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// A part of the input, or of the table of words for words that were merged.
    pub(super) text: &'a [u8],
    /// The quote that begins it; 0 where there is none.
    pub(super) open: u8,
    /// The quote that ends it; 0 where there is none.
    pub(super) close: u8,
}

impl<'a> Token<'a> {
    /// What stands where no token is.
    pub(super) const NONE: Self = Self {
        kind: Kind::Unknown,
        text: b"",
        open: 0,
        close: 0,
    };

    /// Makes a token without quotes.
    pub(super) fn new(kind: Kind, text: &'a [u8]) -> Self {
        Self {
            kind,
            text: &text[..text.len().min(LONGEST)],
            open: 0,
            close: 0,
        }
    }

    pub(super) fn is_word(&self, word: &[u8]) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_arithmetic_operator(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text, b"*" | b"/" | b"-" | b"+" | b"%")
    }

    pub(super) fn is_unary_operator(&self) -> bool {
        self.kind == Kind::Operator
            && match self.text {
                b"+" | b"-" | b"!" | b"~" | b"!!" => true,
                text => text.eq_ignore_ascii_case(b"NOT"),
            }
    }

    /// Returns what this token and the next are together: `UNION` `ALL`.
    pub(super) fn merged(&self, next: &Self) -> Option<Token<'static>> {
        let first = matches!(
            self.kind,
            Kind::Keyword
                | Kind::Bareword
                | Kind::Operator
                | Kind::Union
                | Kind::Function
                | Kind::Expression
                | Kind::TransactSql
                | Kind::SqlType
        );
        let second = matches!(
            next.kind,
            Kind::Keyword
                | Kind::Bareword
                | Kind::Operator
                | Kind::Union
                | Kind::Function
                | Kind::Expression
                | Kind::TransactSql
                | Kind::SqlType
                | Kind::LogicOperator
        );
        if !(first && second) {
            return None;
        }
        let phrase = words::phrase(self.text, next.text)?;
        Some(Token::new(phrase.kind, phrase.text()))
    }
}
