//! Makes at most five tokens of all.
//!
//! What says nothing about an injection goes: comments, repeated strings, unary
//! operators, sums of numbers. The rules look at two or three neighbours, and the
//! next look is from the left again where one applied, so that a long expression
//! becomes short.

mod pairs;
mod threes;

use self::pairs::Pair;
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
}
