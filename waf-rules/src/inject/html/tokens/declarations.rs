//! Declarations, comments and character data of HTML.

use memchr::memchr;

use super::{State, Token, Tokens};

impl<'a> Tokens<'a> {
    /// Behind `<!`.
    pub(super) fn declaration(&mut self) -> Option<Token<'a>> {
        let rest = self.rest();
        let start = rest.get(..7).unwrap_or_default();
        if start.eq_ignore_ascii_case(b"DOCTYPE") {
            return Some(Token::Doctype);
        }
        if start == b"[CDATA[" {
            self.at += 7;
            self.character_data();
            return None;
        }
        if rest.starts_with(b"--") {
            self.at += 2;
            return Some(self.comment());
        }
        Some(self.bogus_comment())
    }

    pub(super) fn bogus_comment(&mut self) -> Token<'a> {
        Token::Comment(match memchr(b'>', self.rest()) {
            Some(length) => self.cut(length, 1, State::Text),
            None => self.cut_rest(),
        })
    }

    /// `<% ... %>`, which was a comment to Internet Explorer and Safari.
    pub(super) fn percent_comment(&mut self) -> Token<'a> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest.get(from..).and_then(|rest| memchr(b'%', rest)) {
            let at = from + found;
            if rest.get(at + 1) == Some(&b'>') {
                return Token::Comment(self.cut(at, 2, State::Text));
            }
            from = at + 1;
        }
        Token::Comment(self.cut_rest())
    }

    /// A comment ends with `-->` or `-!>`, with any NULs behind the first dash.
    fn comment(&mut self) -> Token<'a> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest.get(from..).and_then(|rest| memchr(b'-', rest)) {
            let at = from + found;
            from = at + 1;
            let nuls = rest[from..].iter().take_while(|&&byte| byte == 0).count();
            if let Some([b'-' | b'!', b'>', ..]) = rest.get(from + nuls..) {
                return Token::Comment(self.cut(at, 1 + nuls + 2, State::Text));
            }
        }
        Token::Comment(self.cut_rest())
    }

    fn character_data(&mut self) {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest.get(from..).and_then(|rest| memchr(b']', rest)) {
            let at = from + found;
            if rest[at..].starts_with(b"]]>") {
                self.cut(at, 3, State::Text);
                return;
            }
            from = at + 1;
        }
        self.state = State::End;
    }
}
