//! What speaks for a harmless value although its fingerprint is known.

use memchr::memmem;

use super::{Reading, kind::Kind, token::Token};

impl Reading {
    /// Tells whether a value with a known fingerprint is ordinary text after all.
    pub(super) fn is_doubtful(&self, value: &[u8]) -> bool {
        let [first, second, third, ..] = &self.tokens;
        let letters = self.fingerprint.as_bytes();
        // SQL Server keeps what has this in a comment out of its log.
        if letters.ends_with(b"c") && hides_from_log(value) {
            return false;
        }
        match letters.len() {
            2 => self.is_doubtful_pair(value, first, second),
            3 => self.is_doubtful_triple(value, letters, [first, second, third]),
            _ => false,
        }
    }

    fn is_doubtful_pair(&self, value: &[u8], first: &Token, second: &Token) -> bool {
        if second.kind == Kind::Union {
            // `1 union` is said in texts; more tokens that were folded are not.
            return self.count == 2;
        }
        let text = second.text(value);
        let start = text.first().copied().unwrap_or_default();
        if start == b'#' {
            return true;
        }
        let comment = second.kind == Kind::Comment;
        if comment && first.kind == Kind::Bareword && start != b'/' {
            return true;
        }
        if comment && first.kind == Kind::Number {
            return start != b'/'
                && self.count <= 2
                && !ends_as_number(value, first.text(value).len());
        }
        // Texts have `--`, scanners end with it.
        text.len() > 2 && start == b'-'
    }

    fn is_doubtful_triple(&self, value: &[u8], letters: &[u8], tokens: [&Token; 3]) -> bool {
        let [first, second, third] = tokens;
        match letters {
            // `foo' + 'bar` is an injection if nothing opens and closes around it.
            b"sos" | b"s&s" => first.open != 0 || third.close != 0 || first.close != third.open,
            b"s&n" | b"n&1" | b"1&1" | b"1&v" | b"1&s" => self.count == 3,
            _ if second.kind == Kind::Keyword => {
                let text = second.text(value);
                let into = text.get(..4);
                text.len() < 5 || into.is_none_or(|into| !into.eq_ignore_ascii_case(b"INTO"))
            }
            _ => false,
        }
    }
}

fn hides_from_log(value: &[u8]) -> bool {
    memmem::find(value, b"sp_password").is_some()
}

/// Tells whether what is behind a number ends it: `1234-ABC--` is a key and no sum.
/// Only the length of the number is known, so it is taken to begin the value.
fn ends_as_number(value: &[u8], length: usize) -> bool {
    match value.get(length..).unwrap_or_default() {
        // Bytes are signed in C, and a NUL is behind the end.
        [] | [..=b' ' | 128.., ..] | [b'-', b'-', ..] => true,
        _ => false,
    }
}
