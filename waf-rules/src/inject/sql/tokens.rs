//! Takes SQL apart, one token at a time.
//!
//! What a byte may begin is in [`Tokens::next`]; strings, numbers and words have
//! files of their own.

use memchr::memchr;

use super::{
    bytes::{VARIABLE_END, WHITE},
    kind::Kind,
    token::Token,
    words,
};

/// How comments are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `--` begins a comment and `#` is an operator.
    Ansi,
    /// `--` begins a comment if white space follows, and so does `#`.
    MySql,
}

/// Where in a statement the value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// The quote whose string the value begins in.
    pub(super) quote: Option<u8>,
    pub(super) dialect: Dialect,
}

/// The tokens of a value in a context.
pub(super) struct Tokens<'a> {
    pub(super) input: &'a [u8],
    /// Where the next token begins.
    pub(super) at: usize,
    context: Context,
    /// How many tokens there were, comments included.
    pub(super) count: usize,
    /// There was a comment that the other dialect reads otherwise.
    pub(super) ambiguous: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(input: &'a [u8], context: Context) -> Self {
        Self {
            input,
            at: 0,
            context,
            count: 0,
            ambiguous: false,
        }
    }

    /// Puts the next token in a place, and tells whether there was one. Handing it back
    /// would copy it more than once, which takes longer than to make it.
    pub(super) fn next(&mut self, place: &mut Token) -> bool {
        if self.at == 0
            && let Some(quote) = self.context.quote
            && !self.input.is_empty()
        {
            self.count += 1;
            *place = self.string(0, 0, quote);
            return true;
        }
        while let Some(&byte) = self.input.get(self.at) {
            *place = match byte {
                0..=b' ' | 0x7f | 0xa0 => {
                    self.at += 1;
                    continue;
                }
                b'.' | b'0'..=b'9' => match self.number() {
                    Some(token) => token,
                    None => continue,
                },
                b'b' | b'B' => self.binary_string(),
                b'e' | b'E' => self.escape_string(),
                b'n' | b'N' => self.national_string(),
                b'q' | b'Q' => self.oracle_string(0),
                b'u' | b'U' => self.unicode_string(),
                b'x' | b'X' => self.hexadecimal_string(),
                b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80.. => self.word(),
                b'\'' | b'"' => self.string(self.at, 1, byte),
                b'`' => self.tick(),
                b'(' => self.one(Kind::LeftParenthesis),
                b')' => self.one(Kind::RightParenthesis),
                b'{' => self.one(Kind::LeftBrace),
                b'}' => self.one(Kind::RightBrace),
                b',' => self.one(Kind::Comma),
                b';' => self.one(Kind::Semicolon),
                b'%' | b'+' | b'^' | b'~' => self.one(Kind::Operator),
                b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => self.operator(),
                b'-' => self.dash(),
                b'/' => self.slash(),
                b'#' => self.hash(),
                b'\\' => self.backslash(),
                b'@' => self.variable(),
                b'$' => self.money(),
                b'[' => self.bracket(),
                b'?' | b']' => self.one(Kind::Unknown),
            };
            self.count += 1;
            return true;
        }
        false
    }

    /// Returns the byte at a place; NUL behind the end.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.input.get(at).copied().unwrap_or_default()
    }

    /// Returns what is left from a place on.
    pub(super) fn rest(&self, from: usize) -> &'a [u8] {
        self.input.get(from..).unwrap_or_default()
    }

    /// Makes a token of the next bytes, and goes behind them.
    pub(super) fn take(&mut self, kind: Kind, length: usize) -> Token {
        let token = Token::new(kind, self.at, length);
        self.at += length;
        token
    }

    /// Makes a token of one byte.
    pub(super) fn one(&mut self, kind: Kind) -> Token {
        self.take(kind, 1)
    }

    pub(super) fn part(&self, from: usize, to: usize) -> &'a [u8] {
        self.input.get(from..to).unwrap_or_default()
    }

    /// Operators of two characters, `<=>`, and those of one that they begin with.
    fn operator(&mut self) -> Token {
        let rest = self.rest(self.at);
        if rest.starts_with(b"<=>") {
            return self.take(Kind::Operator, 3);
        }
        let Some(two) = rest.get(..2) else {
            return self.one(Kind::Operator);
        };
        match words::word(two) {
            Some(word) => self.take(word.kind, 2),
            None if rest[0] == b':' => self.one(Kind::Colon),
            None => self.one(Kind::Operator),
        }
    }

    fn dash(&mut self) -> Token {
        let rest = self.rest(self.at);
        if rest.get(1) != Some(&b'-') {
            return self.one(Kind::Operator);
        }
        if rest.get(2).is_none_or(|&byte| WHITE.has(byte)) {
            return self.line_comment();
        }
        match self.context.dialect {
            Dialect::Ansi => {
                self.ambiguous = true;
                self.line_comment()
            }
            Dialect::MySql => self.one(Kind::Operator),
        }
    }

    fn hash(&mut self) -> Token {
        self.ambiguous = true;
        match self.context.dialect {
            Dialect::Ansi => self.one(Kind::Operator),
            Dialect::MySql => self.line_comment(),
        }
    }

    fn line_comment(&mut self) -> Token {
        let rest = self.rest(self.at);
        match memchr(b'\n', rest) {
            Some(length) => {
                let token = self.take(Kind::Comment, length);
                self.at += 1;
                token
            }
            None => self.take(Kind::Comment, rest.len()),
        }
    }

    /// Comments that nest are read otherwise by PostgreSQL, and MySQL runs those that
    /// begin with `/*!`.
    fn slash(&mut self) -> Token {
        let rest = self.rest(self.at);
        if !rest.starts_with(b"/*") {
            return self.one(Kind::Operator);
        }
        let inside = &rest[2..];
        let end = find_pair(inside, *b"*/");
        // The star of the end counts as part of what is inside: `/*/*/` nests.
        let nests = end.is_some_and(|end| find_pair(&inside[..=end], *b"/*").is_some());
        let kind = match nests || inside.first() == Some(&b'!') {
            true => Kind::Evil,
            false => Kind::Comment,
        };
        let length = end.map_or(rest.len(), |end| 2 + end + 2);
        self.take(kind, length)
    }

    /// `\N` is NULL in MySQL.
    fn backslash(&mut self) -> Token {
        match self.byte(self.at + 1) {
            b'N' => self.take(Kind::Number, 2),
            _ => self.one(Kind::Backslash),
        }
    }

    /// `@name`, `@@name`, and both with quotes.
    fn variable(&mut self) -> Token {
        self.at += 1;
        if self.byte(self.at) == b'@' {
            self.at += 1;
        }
        let token = match self.byte(self.at) {
            b'`' => self.tick(),
            quote @ (b'\'' | b'"') => self.string(self.at, 1, quote),
            _ => {
                let length = VARIABLE_END.span_until(self.rest(self.at));
                self.take(Kind::Bareword, length)
            }
        };
        Token {
            kind: Kind::Variable,
            ..token
        }
    }

    /// A word in brackets, as SQL Server has it.
    fn bracket(&mut self) -> Token {
        let rest = self.rest(self.at);
        let length = memchr(b']', rest).map_or(rest.len(), |end| end + 1);
        self.take(Kind::Bareword, length)
    }
}

/// Finds two bytes that follow each other.
pub(super) fn find_pair(text: &[u8], pair: [u8; 2]) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let at = from + memchr(pair[0], rest)?;
        if text.get(at + 1) == Some(&pair[1]) {
            return Some(at);
        }
        from = at + 1;
    }
}
