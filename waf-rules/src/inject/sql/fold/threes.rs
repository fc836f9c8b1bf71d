//! The rules for three neighbours.

use super::{super::kind::Kind::*, Fold};

impl Fold<'_, '_> {
    /// Folds the three tokens that are looked at, and tells whether a rule applied.
    pub(super) fn three(&mut self) -> bool {
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
