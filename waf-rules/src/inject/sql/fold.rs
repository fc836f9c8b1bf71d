//! Makes at most five tokens of all.
//!
//! What says nothing about an injection goes: comments, repeated strings, unary
//! operators, sums of numbers. The rules look at two or three neighbours, and the
//! next look is from the left again where one applied, so that a long expression
//! becomes short.

use memchr::memchr;

use super::{
    kind::{Kind, Kind::*},
    token::Token,
    tokens::Tokens,
};

/// How many tokens a fingerprint has.
const MOST: usize = 5;

/// Room for one more, which tells what the fifth is, and for a look at three from there.
pub(super) type Folded = [Token; MOST + 3];

/// Folds the tokens into the first places, and returns how many are left.
pub(super) fn fold(tokens: &mut Tokens, folded: &mut Folded) -> usize {
    if !first(tokens, &mut folded[0]) {
        return 0;
    }
    let mut fold = Fold {
        tokens,
        folded,
        end: 1,
        left: 0,
        more: true,
        comment: None,
    };
    loop {
        fold.shorten();
        if !fold.more || fold.left >= MOST {
            break;
        }
        if !fold.have(2) {
            fold.left = fold.end;
            continue;
        }
        match fold.pair() {
            Pair::Folded => continue,
            Pair::Evil => return fold.left + 2,
            Pair::Kept => (),
        }
        if !fold.have(3) {
            fold.left = fold.end;
        } else if !fold.three() {
            fold.left += 1;
        }
    }
    let Fold { end, comment, .. } = fold;
    match comment {
        Some(comment) if end < MOST => {
            folded[end] = comment;
            end + 1
        }
        _ => end.min(MOST),
    }
}

/// Puts the first token that is no comment, parenthesis, type or unary operator in a place.
fn first(tokens: &mut Tokens, place: &mut Token) -> bool {
    while tokens.next(place) {
        let skipped = matches!(place.kind, Comment | LeftParenthesis | SqlType);
        if !skipped && !place.is_unary_operator(tokens.input) {
            return true;
        }
    }
    false
}

struct Fold<'f, 'a> {
    tokens: &'f mut Tokens<'a>,
    folded: &'f mut Folded,
    /// Where the next token goes.
    end: usize,
    /// Where the rules look from.
    left: usize,
    /// There may be more tokens.
    more: bool,
    /// The comment that no other token follows yet.
    comment: Option<Token>,
}

enum Pair {
    /// A rule applied, and the next look is due.
    Folded,
    Kept,
    Evil,
}

impl Fold<'_, '_> {
    /// Takes tokens until there are so many to look at, and tells whether there are.
    fn have(&mut self, count: usize) -> bool {
        while self.more && self.end <= MOST && self.end - self.left < count {
            let place = &mut self.folded[self.end];
            if !self.tokens.next(place) {
                self.more = false;
            } else if place.kind == Comment {
                self.comment = Some(*place);
            } else {
                self.comment = None;
                self.end += 1;
            }
        }
        self.end - self.left >= count
    }

    /// Begins again where five tokens are arithmetic.
    fn shorten(&mut self) {
        if self.end < MOST {
            return;
        }
        let arithmetic = matches!(
            self.folded.each_ref().map(|token| token.kind),
            [
                Number,
                Operator | Comma,
                LeftParenthesis,
                Number,
                RightParenthesis,
                ..
            ] | [
                Bareword,
                Operator,
                LeftParenthesis,
                Bareword | Number,
                RightParenthesis,
                ..
            ] | [Number, RightParenthesis, Comma, LeftParenthesis, Number, ..]
                | [
                    Bareword,
                    RightParenthesis,
                    Operator,
                    LeftParenthesis,
                    Bareword,
                    ..
                ]
        );
        if !arithmetic {
            return;
        }
        if self.end > MOST {
            self.folded[1] = self.folded[MOST];
            self.end = 2;
        } else {
            self.end = 1;
        }
        self.left = 0;
    }

    /// Drops the last tokens, and looks from the first again.
    fn drop_last(&mut self, count: usize) {
        self.end -= count;
        self.left = 0;
    }

    fn kind(&self, at: usize) -> Kind {
        self.folded[self.left + at].kind
    }

    fn is_word(&self, at: usize, word: &[u8]) -> bool {
        self.folded[self.left + at].is_word(self.tokens.input, word)
    }

    fn is_unary_operator(&self, at: usize) -> bool {
        self.folded[self.left + at].is_unary_operator(self.tokens.input)
    }

    fn pair(&mut self) -> Pair {
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

    /// The rules for three tokens. Tells whether one applied.
    fn three(&mut self) -> bool {
        let left = self.left;
        match (self.kind(0), self.kind(1), self.kind(2)) {
            (Number, Operator, Number)
            | (LogicOperator, _, LogicOperator)
            | (Variable, Operator, Variable | Number | Bareword)
            | (Bareword | Number, Operator, Number | Bareword)
            | (
                Bareword | Number | String | Variable,
                Comma,
                Number | Bareword | String | Variable,
            )
            | (Bareword, Dot, Bareword) => self.drop_last(2),
            (Operator, between, Operator) if between != LeftParenthesis => self.drop_last(2),
            (Bareword | Number | Variable | String, Operator, SqlType)
                if self.is_word(1, b"::") =>
            {
                self.drop_last(2);
            }
            (Comma, Operator, Number | Bareword | Variable | String)
                if self.is_unary_operator(1) =>
            {
                // One more goes, so that `1,-1` is looked at as `1`, `,` and what follows.
                self.folded[left + 1] = self.folded[left + 2];
                self.drop_last(3);
            }
            (first @ (Keyword | Expression | Group), Operator, kind)
                if self.is_unary_operator(1) =>
            {
                let operand = match kind {
                    Number | Bareword | Variable | String | Function => true,
                    LeftParenthesis => first != Keyword,
                    _ => false,
                };
                if !operand {
                    return false;
                }
                self.drop_middle();
            }
            (Comma, Operator, LeftParenthesis | Function) if self.is_unary_operator(1) => {
                self.drop_middle();
            }
            (Expression, Dot, Bareword) => self.drop_middle(),
            // `USER(name)` is no function.
            (Function, LeftParenthesis, kind)
                if kind != RightParenthesis && self.is_word(0, b"USER") =>
            {
                self.folded[left].kind = Bareword;
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Puts the last of three tokens in the place of the middle one.
    fn drop_middle(&mut self) {
        self.folded[self.left + 1] = self.folded[self.left + 2];
        self.drop_last(1);
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
