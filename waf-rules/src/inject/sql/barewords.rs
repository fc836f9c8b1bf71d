//! Words of SQL without quotes.

use super::{
    bytes::WORD_STOP,
    kind::Kind,
    token::{LONGEST, Token},
    tokens::Tokens,
    words,
};

impl Tokens<'_> {
    /// Reads a word. `SELECT.1` and ``SELECT`a` `` are two.
    pub(super) fn word(&mut self) -> Token {
        let rest = self.rest(self.at);
        let mut length = WORD_STOP.span_until(rest);
        while let Some(b'.' | b'`') = rest.get(length) {
            if length < LONGEST
                && let Some(known) = words::word(&rest[..length])
                && known.kind != Kind::Bareword
            {
                return self.take(known.kind, length);
            }
            length += 1 + WORD_STOP.span_until(&rest[length + 1..]);
        }
        let known = words::word(&rest[..length]);
        let kind = known.map_or(Kind::Bareword, |known| known.kind);
        self.take(kind, length)
    }
}
