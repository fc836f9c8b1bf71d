//! What a client sends to show who it is (RFC 9110 section 11.7.2).
//!
//! A token, as Bearer (RFC 6750), or as the password of Basic with any name: a proxy URL can
//! carry nothing else. It is in no log and goes no further.

use std::fmt;

use crate::identity::name_and_password;

/// Longest token, in bytes. Those of Kubernetes have some 1500.
pub(super) const MAX_TOKEN: usize = 8 << 10;
/// Longest name beside it.
const MAX_NAME: usize = 256;

/// What the `Proxy-Authorization` of a request says.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nothing.
    Missing,
    /// Nothing, since there is no place for it in what the client speaks.
    Impossible,
    /// A token, which is yet to be verified.
    Token(Vec<u8>),
    /// Something else, and the reason code of it.
    Bad(&'static str),
}

impl Credentials {
    /// Reads the values of the field, of all its lines.
    pub(super) fn read(values: &[&[u8]]) -> Self {
        match values {
            [] => Self::Missing,
            [value] => Self::of(value),
            // One would be judged, and the other might be believed.
            _ => Self::Bad("duplicate_credentials"),
        }
    }

    fn of(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let end = value.iter().position(|&byte| byte == b' ');
        let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
        let rest = rest.trim_ascii();
        let token = if scheme.eq_ignore_ascii_case(b"bearer") {
            rest.to_vec()
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            // Four characters for three bytes.
            if rest.len().div_ceil(4) * 3 > MAX_NAME + MAX_TOKEN {
                return Self::Bad("token_too_large");
            }
            match name_and_password(rest, MAX_NAME + MAX_TOKEN) {
                Some((_, password)) => password,
                None => return Self::Bad("bad_credentials"),
            }
        } else {
            return Self::Bad("unsupported_scheme");
        };
        match token.len() {
            0 => Self::Bad("bad_credentials"),
            1..=MAX_TOKEN => Self::Token(token),
            _ => Self::Bad("token_too_large"),
        }
    }
}

/// Never the token.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "Missing",
            Self::Impossible => "Impossible",
            Self::Token(_) => "Token",
            Self::Bad(reason) => reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    #[test]
    fn a_token_is_taken_from_either_scheme_and_from_no_other_form() {
        let token = |text: &str| Credentials::Token(text.into());
        let (longest, longer) = ("t".repeat(MAX_TOKEN), "t".repeat(MAX_TOKEN + 1));
        let bad = Credentials::Bad("bad_credentials");
        for (values, expected) in [
            (vec![], Credentials::Missing),
            (vec!["Bearer a.b.c".to_owned()], token("a.b.c")),
            (vec!["bEARER   a.b.c ".into()], token("a.b.c")),
            (vec![basic("token:a.b.c")], token("a.b.c")),
            (vec![basic(":a.b.c")], token("a.b.c")),
            (vec![basic("a:b:c")], token("b:c")),
            (
                vec![basic("x:a.b.c").replace("Basic", "BASIC")],
                token("a.b.c"),
            ),
            (vec![basic("xx:a.b.c").replace('=', "")], token("a.b.c")),
            (vec![format!("Bearer {longest}")], token(&longest)),
            (vec![basic(&format!("token:{longest}"))], token(&longest)),
            (
                vec![format!("Bearer {longer}")],
                Credentials::Bad("token_too_large"),
            ),
            (
                vec![basic(&format!("token:{longer}"))],
                Credentials::Bad("token_too_large"),
            ),
            (
                vec![basic(&format!("{}:t", "n".repeat(40_000)))],
                Credentials::Bad("token_too_large"),
            ),
            (vec!["Bearer".into()], bad.clone()),
            (vec!["Bearer ".into()], bad.clone()),
            (vec!["Basic".into()], bad.clone()),
            (vec![basic("token:")], bad.clone()),
            (vec![basic("a.b.c")], bad.clone()),
            (vec!["Basic %%%".into()], bad.clone()),
            // Both in one line: the second is no part of either.
            (vec![format!("{}, Bearer a.b.c", basic("t:a.b.c"))], bad),
            (
                vec![format!("Bearer a.b.c, {}", basic("t:x"))],
                token(&format!("a.b.c, {}", basic("t:x"))),
            ),
            (vec![String::new()], Credentials::Bad("unsupported_scheme")),
            (vec!["a.b.c".into()], Credentials::Bad("unsupported_scheme")),
            (
                vec!["Bearer\ta.b.c".into()],
                Credentials::Bad("unsupported_scheme"),
            ),
            (
                vec!["Negotiate YII=".into()],
                Credentials::Bad("unsupported_scheme"),
            ),
            (
                vec!["Bearer a.b.c".into(), "Bearer a.b.c".into()],
                Credentials::Bad("duplicate_credentials"),
            ),
            (
                vec![basic("t:a.b.c"), "Bearer a.b.c".into()],
                Credentials::Bad("duplicate_credentials"),
            ),
        ] {
            let bytes: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
            let shown = values.iter().map(|value| value.chars().take(60).collect());
            let shown: Vec<String> = shown.collect();
            assert!(Credentials::read(&bytes) == expected, "{shown:?}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", Credentials::read(&[b"Bearer secret"]));
        assert_eq!(shown, "Token");
    }
}
