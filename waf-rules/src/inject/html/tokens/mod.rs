//! Takes HTML apart, one token at a time.
//!
//! The states are those of the tokenizer of HTML 5, section 13.2.5, with what old
//! browsers did besides. Tokens that no rule looks at (texts, the ends of tags) are not
//! handed out.

mod declarations;

use memchr::memchr;

/// Where in a document the value stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Context {
    Text,
    /// Behind the equals sign of an attribute.
    Unquoted,
    /// Behind the quote that begins the value of an attribute.
    Quoted(u8),
}

/// What may be an injection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    Doctype,
    Tag(&'a [u8]),
    Attribute(&'a [u8]),
    /// The value of the attribute before it.
    Value(&'a [u8]),
    Comment(&'a [u8]),
}

/// The tokens of a value in a context.
pub(super) struct Tokens<'a> {
    input: &'a [u8],
    at: usize,
    state: State,
    /// The tag began with `</`. Nothing but a `>` forgets it, so that `</><script>` is
    /// read as the end of two tags.
    closing: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Text,
    TagOpen,
    BeforeAttribute,
    AfterAttribute,
    BeforeValue,
    /// In a value that ends with this quote.
    Quoted(u8),
    AfterQuoted,
    /// Behind a slash in a tag.
    SelfClosing,
    /// At the `>` of a tag.
    TagEnd,
    End,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(input: &'a [u8], context: Context) -> Self {
        let state = match context {
            Context::Text => State::Text,
            // As if the value were empty.
            Context::Unquoted => State::BeforeAttribute,
            Context::Quoted(quote) => State::Quoted(quote),
        };
        Self {
            input,
            at: 0,
            state,
            closing: false,
        }
    }

    /// Returns the next token.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let token = match self.state {
                State::Text => {
                    self.at += memchr(b'<', self.rest())? + 1;
                    self.state = State::TagOpen;
                    None
                }
                State::TagOpen => self.tag_open()?,
                State::BeforeAttribute => match self.skip_white()? {
                    b'/' => self.go(1, State::SelfClosing),
                    b'>' => self.go(1, State::Text),
                    _ => Some(self.attribute()),
                },
                State::AfterAttribute => match self.skip_white()? {
                    b'/' => self.go(1, State::SelfClosing),
                    b'=' => self.go(1, State::BeforeValue),
                    b'>' => self.go(0, State::TagEnd),
                    _ => Some(self.attribute()),
                },
                State::BeforeValue => match self.skip_white()? {
                    // Internet Explorer takes ticks for quotes.
                    quote @ (b'"' | b'\'' | b'`') => self.go(1, State::Quoted(quote)),
                    _ => Some(self.unquoted()),
                },
                State::Quoted(quote) => Some(self.quoted(quote)),
                State::AfterQuoted => match self.rest().first()? {
                    b'/' => self.go(1, State::SelfClosing),
                    b'>' => self.go(1, State::Text),
                    _ => self.go(0, State::BeforeAttribute),
                },
                State::SelfClosing => match self.rest().first()? {
                    b'>' => self.go(1, State::Text),
                    _ => self.go(0, State::BeforeAttribute),
                },
                State::TagEnd => {
                    self.closing = false;
                    self.go(1, State::Text)
                }
                State::End => return None,
            };
            if token.is_some() {
                return token;
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn go(&mut self, bytes: usize, state: State) -> Option<Token<'a>> {
        self.at += bytes;
        self.state = state;
        None
    }

    /// Goes on behind the next `length` bytes and `more`, and returns those.
    fn cut(&mut self, length: usize, more: usize, state: State) -> &'a [u8] {
        let text = self.rest().get(..length).unwrap_or_default();
        self.at += length + more;
        self.state = state;
        text
    }

    /// Returns all that is left.
    fn cut_rest(&mut self) -> &'a [u8] {
        self.state = State::End;
        self.rest()
    }

    /// Returns the next byte that is no white space. A byte of 255 is the end, as -1 is in C.
    fn skip_white(&mut self) -> Option<u8> {
        let rest = self.rest();
        let skipped = rest.iter().position(|&byte| !is_white(byte))?;
        self.at += skipped;
        Some(rest[skipped]).filter(|&byte| byte != 0xff)
    }

    /// Behind a `<`. Returns nothing at the end, and nothing in something where there is no token.
    #[allow(clippy::option_option, reason = "the end, and a state without a token")]
    fn tag_open(&mut self) -> Option<Option<Token<'a>>> {
        let token = match self.rest().first()? {
            b'!' => {
                self.at += 1;
                self.declaration()
            }
            b'/' => {
                self.at += 1;
                self.closing = true;
                match self.rest().first()? {
                    b'>' => return Some(self.go(0, State::Text)),
                    b'a'..=b'z' | b'A'..=b'Z' => return Some(self.tag()),
                    _ => {
                        self.closing = false;
                        Some(self.bogus_comment())
                    }
                }
            }
            b'?' => {
                self.at += 1;
                Some(self.bogus_comment())
            }
            b'%' => {
                self.at += 1;
                Some(self.percent_comment())
            }
            // Internet Explorer ignores NULs.
            b'a'..=b'z' | b'A'..=b'Z' | 0 => return Some(self.tag()),
            _ => self.go(0, State::Text),
        };
        Some(token)
    }

    /// The name of a tag. A tag without attributes that closes is no token.
    fn tag(&mut self) -> Option<Token<'a>> {
        let rest = self.rest();
        let ends = |&byte: &u8| byte == b'/' || byte == b'>' || byte != 0 && is_white(byte);
        let Some(length) = rest.iter().position(ends) else {
            return Some(Token::Tag(self.cut_rest()));
        };
        let name = match rest[length] {
            b'>' if self.closing => {
                self.closing = false;
                return self.go(length + 1, State::Text);
            }
            b'>' => self.cut(length, 0, State::TagEnd),
            b'/' => self.cut(length, 1, State::SelfClosing),
            _ => self.cut(length, 1, State::BeforeAttribute),
        };
        Some(Token::Tag(name))
    }

    /// The name of an attribute, whose first byte may be any.
    fn attribute(&mut self) -> Token<'a> {
        let rest = self.rest();
        let ends = |&byte: &u8| matches!(byte, b'/' | b'=' | b'>') || is_white(byte);
        let Some(length) = rest.iter().skip(1).position(ends) else {
            return Token::Attribute(self.cut_rest());
        };
        let length = length + 1;
        Token::Attribute(match rest[length] {
            b'/' => self.cut(length, 1, State::SelfClosing),
            b'=' => self.cut(length, 1, State::BeforeValue),
            b'>' => self.cut(length, 0, State::TagEnd),
            _ => self.cut(length, 1, State::AfterAttribute),
        })
    }

    fn unquoted(&mut self) -> Token<'a> {
        let rest = self.rest();
        let ends = |&byte: &u8| byte == b'>' || is_white(byte);
        let Some(length) = rest.iter().position(ends) else {
            return Token::Value(self.cut_rest());
        };
        Token::Value(match rest[length] {
            b'>' => self.cut(length, 0, State::TagEnd),
            _ => self.cut(length, 1, State::BeforeAttribute),
        })
    }

    fn quoted(&mut self, quote: u8) -> Token<'a> {
        Token::Value(match memchr(quote, self.rest()) {
            Some(length) => self.cut(length, 1, State::AfterQuoted),
            None => self.cut_rest(),
        })
    }
}

/// White space of old browsers, with the NUL that the C library finds at the end of its list.
fn is_white(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0)
}
