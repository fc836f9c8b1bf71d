//! Numbers of SQL.

use super::{
    bytes::{BINARY, DIGIT, HEXADECIMAL, WHITE},
    kind::Kind,
    token::Token,
    tokens::Tokens,
};

impl Tokens<'_> {
    /// Reads a number, or a lone dot. MySQL takes `1.e` for nothing before what follows
    /// it, and so it is no token.
    pub(super) fn number(&mut self) -> Option<Token> {
        let rest = self.rest(self.at);
        let radix = match rest {
            [b'0', b'x' | b'X', ..] => Some(HEXADECIMAL),
            [b'0', b'b' | b'B', ..] => Some(BINARY),
            _ => None,
        };
        if let Some(digits) = radix {
            let length = digits.span(&rest[2..]);
            let kind = match length {
                0 => Kind::Bareword,
                _ => Kind::Number,
            };
            return Some(self.take(kind, 2 + length));
        }
        let mut length = DIGIT.span(rest);
        if rest.get(length) == Some(&b'.') {
            length += 1;
            length += DIGIT.span(&rest[length..]);
            if length == 1 {
                return Some(self.one(Kind::Dot));
            }
        }
        let mut no_exponent = false;
        if let Some(b'e' | b'E') = rest.get(length) {
            length += 1;
            if let Some(b'+' | b'-') = rest.get(length) {
                length += 1;
            }
            let digits = DIGIT.span(&rest[length..]);
            no_exponent = digits == 0;
            length += digits;
        }
        length += suffix(&rest[length..]);
        if no_exponent {
            self.at += length;
            return None;
        }
        Some(self.take(Kind::Number, length))
    }
}

/// Oracle ends a number with `d` or `f` for its type. Before `u` it may be `1fUNION`;
/// before other letters it is a word of its own.
fn suffix(rest: &[u8]) -> usize {
    match rest {
        [b'd' | b'D' | b'f' | b'F'] => 1,
        [b'd' | b'D' | b'f' | b'F', next, ..]
            if WHITE.has(*next) || matches!(next, b';' | b'u' | b'U') =>
        {
            1
        }
        _ => 0,
    }
}
