//! Words of SQL without quotes.

use super::{
    bytes::WORD_END,
    kind::Kind,
    token::{LONGEST, Token},
    tokens::Tokens,
    words,
};

impl<'a> Tokens<'a> {
    /// Reads a word. `SELECT.1` and ``SELECT`a` `` are two.
    pub(super) fn word(&mut self) -> Token<'a> {
        let rest = self.rest(self.at);
        let word = &rest[..WORD_END.span_until(rest)];
        let seen = &word[..word.len().min(LONGEST)];
        for (at, &byte) in seen.iter().enumerate() {
            if byte == b'.' || byte == b'`' {
                let known = words::word(&seen[..at]).filter(|word| word.kind != Kind::Bareword);
                if let Some(known) = known {
                    return self.take(known.kind, self.at + at);
                }
            }
        }
        let known = words::word(word);
        let kind = known.map_or(Kind::Bareword, |known| known.kind);
        self.take(kind, self.at + word.len())
    }
}
