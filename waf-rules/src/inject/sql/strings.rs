//! Strings of SQL, each way that a database writes them.

use memchr::{memchr, memmem};

use super::{
    bytes::{AMOUNT, BINARY, HEXADECIMAL, LETTER, Set},
    kind::Kind,
    token::Token,
    tokens::{Tokens, find_pair},
    words,
};

impl Tokens<'_> {
    /// Reads a string up to its quote, from a place where `opening` bytes come before it.
    /// A quote that is doubled or has an odd number of backslashes before it does not end it.
    pub(super) fn string(&mut self, from: usize, opening: usize, quote: u8) -> Token {
        let start = from + opening;
        let text = self.rest(start);
        let (length, close) = match string_end(text, quote) {
            Some(end) => (end, quote),
            None => (text.len(), 0),
        };
        self.at = start + length + usize::from(close != 0);
        Token {
            // Where the value begins in a string its quote was not seen.
            open: if opening > 0 { quote } else { 0 },
            close,
            ..Token::new(Kind::String, start, length)
        }
    }

    /// A word in ticks. Functions are functions in them too, other words are plain.
    pub(super) fn tick(&mut self) -> Token {
        let token = self.string(self.at, 1, b'`');
        let kind = match words::word(token.text(self.input)) {
            Some(word) if word.kind == Kind::Function => Kind::Function,
            _ => Kind::Bareword,
        };
        Token { kind, ..token }
    }

    /// `E'...'`, PostgreSQL.
    pub(super) fn escape_string(&mut self) -> Token {
        match self.rest(self.at) {
            [_, b'\'', _, ..] => self.string(self.at, 2, b'\''),
            _ => self.word(),
        }
    }

    /// `N'...'`, and `NQ'...'` of Oracle.
    pub(super) fn national_string(&mut self) -> Token {
        match self.rest(self.at) {
            [_, b'\'', _, ..] => self.string(self.at, 2, b'\''),
            _ => self.oracle_string(1),
        }
    }

    /// `U&'...'`.
    pub(super) fn unicode_string(&mut self) -> Token {
        if !self.rest(self.at + 1).starts_with(b"&'") {
            return self.word();
        }
        let token = self.string(self.at + 2, 1, b'\'');
        Token {
            open: b'u',
            close: if token.close == 0 { 0 } else { b'u' },
            ..token
        }
    }

    /// `Q'[...]'` with brackets or any other character, `skip` bytes from here.
    pub(super) fn oracle_string(&mut self, skip: usize) -> Token {
        let rest = self.rest(self.at + skip);
        let [b'q' | b'Q', b'\'', bracket, text @ ..] = rest else {
            return self.word();
        };
        let bracket = match bracket {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            // Bytes are signed in C.
            ..33 | 128.. => return self.word(),
            other => *other,
        };
        let end = find_pair(text, [bracket, b'\'']);
        let start = self.at + skip + 3;
        self.quoted(start, end, 2, b'q')
    }

    /// `B'0110'`. It is a number.
    pub(super) fn binary_string(&mut self) -> Token {
        self.digits_in_quotes(BINARY)
    }

    /// `X'1fe'`. It is a number.
    pub(super) fn hexadecimal_string(&mut self) -> Token {
        self.digits_in_quotes(HEXADECIMAL)
    }

    fn digits_in_quotes(&mut self, digits: Set) -> Token {
        if let [_, b'\'', rest @ ..] = self.rest(self.at) {
            let length = digits.span(rest);
            if rest.get(length) == Some(&b'\'') {
                return self.take(Kind::Number, 2 + length + 1);
            }
        }
        self.word()
    }

    /// `$1,000.00`, and `$$...$$` and `$tag$...$tag$` of PostgreSQL.
    pub(super) fn money(&mut self) -> Token {
        let rest = self.rest(self.at + 1);
        let amount = AMOUNT.span(rest);
        match rest {
            [] => self.one(Kind::Bareword),
            [b'.', ..] if amount == 1 => self.word(),
            _ if amount > 0 => self.take(Kind::Number, 1 + amount),
            [b'$', text @ ..] => {
                let end = find_pair(text, *b"$$");
                self.quoted(self.at + 2, end, 2, b'$')
            }
            _ => self.tagged_string(),
        }
    }

    fn tagged_string(&mut self) -> Token {
        let tag = LETTER.span(self.rest(self.at + 1));
        let start = self.at + tag + 2;
        if self.byte(start - 1) != b'$' {
            return self.one(Kind::Bareword);
        }
        let end = memmem::find(self.rest(start), self.part(self.at, start));
        self.quoted(start, end, tag + 2, b'$')
    }

    /// Makes a string that begins at a place and ends `end` bytes later, or not at all,
    /// with what `closing` bytes end.
    fn quoted(&mut self, start: usize, end: Option<usize>, closing: usize, quote: u8) -> Token {
        let text = self.rest(start);
        let length = end.unwrap_or(text.len());
        self.at = start + length + end.map_or(0, |_| closing);
        Token {
            open: quote,
            close: end.map_or(0, |_| quote),
            ..Token::new(Kind::String, start, length)
        }
    }
}

/// Finds the quote that ends a string.
fn string_end(text: &[u8], quote: u8) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr(quote, text.get(from..)?)?;
        let backslashes = text[..at].iter().rev().take_while(|&&byte| byte == b'\\');
        if backslashes.count() % 2 == 1 {
            from = at + 1;
        } else if text.get(at + 1) == Some(&quote) {
            from = at + 2;
        } else {
            return Some(at);
        }
    }
}
