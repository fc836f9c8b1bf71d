//! The rules for two neighbours.

use memchr::memchr;

use super::{super::kind::Kind::*, Fold};

/// What the rules did.
pub(super) enum Pair {
    /// A rule applied, and the next look is due.
    Folded,
    Kept,
    Evil,
}

impl Fold<'_, '_> {
    /// Folds the two tokens that are looked at.
    pub(super) fn pair(&mut self) -> Pair {
        let left = self.left;
        match (self.kind(0), self.kind(1)) {
            (String, String) | (Semicolon, Semicolon) => self.end -= 1,
            (Operator | LogicOperator, SqlType) => self.drop_last(1),
            (Operator | LogicOperator, Operator) if self.is_unary_operator(1) => self.drop_last(1),
            (LeftParenthesis, Operator) if self.is_unary_operator(1) => {
                self.end -= 1;
                self.left = left.saturating_sub(1);
            }
            _ => return self.words(),
        }
        Pair::Folded
    }

    /// The rules for what words are together.
    fn words(&mut self) -> Pair {
        let (left, value) = (self.left, self.tokens.input);
        let [a, b] = [left, left + 1].map(|at| &self.folded[at]);
        if let Some(merged) = a.merged(b, value) {
            self.folded[left] = merged;
            self.end -= 1;
            self.left = left.saturating_sub(1);
            return Pair::Folded;
        }
        match (a.kind, b.kind) {
            // In Transact-SQL `IF` is a statement.
            (Semicolon, Function) if begins_with_if(b.text(value)) => {
                self.folded[left + 1].kind = TransactSql;
            }
            (Bareword | Variable, LeftParenthesis)
                if is_function_before_parenthesis(a.text(value)) =>
            {
                self.folded[left].kind = Function;
            }
            (Keyword, next) if a.is_word(value, b"IN") || a.is_word(value, b"NOT IN") => {
                let compares = next == LeftParenthesis;
                self.folded[left].kind = if compares { Operator } else { Bareword };
            }
            (Operator, next) if a.is_word(value, b"LIKE") || a.is_word(value, b"NOT LIKE") => {
                if next == LeftParenthesis {
                    self.folded[left].kind = Function;
                }
                return Pair::Kept;
            }
            (
                SqlType,
                Bareword | Number | SqlType | LeftParenthesis | Function | Variable | String,
            ) => {
                self.folded[left] = self.folded[left + 1];
                self.drop_last(1);
            }
            // There are too many collations for a table; most have `_` in their names.
            (Collate, Bareword) => {
                let name = b.text(value);
                let name = &name[..memchr(0, name).unwrap_or(name.len())];
                if name.contains(&b'_') {
                    self.folded[left + 1].kind = SqlType;
                    self.left = 0;
                }
                return Pair::Kept;
            }
            // In Transact-SQL `\%1` is `0 % 1`, and `\1` is `1`.
            (Backslash, _) if b.is_arithmetic_operator(value) => {
                self.folded[left].kind = Number;
                self.left = 0;
            }
            (Backslash, _) => {
                self.folded[left] = self.folded[left + 1];
                self.drop_last(1);
            }
            (LeftParenthesis, LeftParenthesis) | (RightParenthesis, RightParenthesis) => {
                self.drop_last(1);
            }
            // MySQL takes `` {``.``.name} ``, whatever that means.
            (LeftBrace, Bareword) if b.text(value).is_empty() => {
                self.folded[left + 1].kind = Evil;
                return Pair::Evil;
            }
            // `{name expression}` of ODBC.
            (LeftBrace, Bareword) => self.drop_last(2),
            (_, RightBrace) => self.drop_last(1),
            _ => return Pair::Kept,
        }
        Pair::Folded
    }
}

fn begins_with_if(text: &[u8]) -> bool {
    text.get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"IF"))
}

/// Words that are names of columns and variables too.
fn is_function_before_parenthesis(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 11] = [
        b"USER_ID",
        b"USER_NAME",
        b"DATABASE",
        b"PASSWORD",
        b"USER",
        b"CURRENT_USER",
        b"CURRENT_DATE",
        b"CURRENT_TIME",
        b"CURRENT_TIMESTAMP",
        b"LOCALTIME",
        b"LOCALTIMESTAMP",
    ];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
