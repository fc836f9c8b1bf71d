//! Secrets in a request target, a form, or another text with a query in it.

use std::borrow::Cow;

use super::MASK;
use crate::transformations::url_decode;

/// Masks the values of secrets in the query of a target, and the user information in
/// front of a host. The names are read as a backend reads them: decoded; `is_named` tells which are of secrets.
pub(crate) fn mask_target(target: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut output = Vec::with_capacity(target.len());
    each_piece(target, is_named, &mut |piece| {
        match piece {
            Piece::Text(text) => output.extend_from_slice(text),
            Piece::Secret => output.extend_from_slice(MASK.as_bytes()),
        }
        true
    });
    output
}

/// Tells whether [`mask_target`] would mask anything.
pub(crate) fn target_has_secret(target: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> bool {
    // Most paths and values have nothing that one could be hidden in.
    if !may_hold_secret(target) {
        return false;
    }
    let mut found = false;
    each_piece(target, is_named, &mut |piece| {
        found |= matches!(piece, Piece::Secret);
        !found
    });
    found
}

/// Tells whether a text has any of the bytes without which it holds no value, no user
/// information, no document, and nothing that is escaped.
fn may_hold_secret(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    bytes.any(|byte| matches!(byte, b'=' | b'@' | b'%' | b'{' | b'['))
}

enum Piece<'a> {
    Text(&'a [u8]),
    Secret,
}

/// Takes a text apart at `?`, `&`, `;`, `#` and blanks; what stands before a `=` is a name.
/// Ends when `given` returns `false`.
fn each_piece<'a>(
    target: &'a [u8],
    is_named: &dyn Fn(&[u8]) -> bool,
    given: &mut dyn FnMut(Piece<'a>) -> bool,
) {
    let ends = |byte: &u8| matches!(byte, b'?' | b'&' | b';' | b'#' | b' ');
    for pair in target.split_inclusive(ends) {
        let end = pair.len() - usize::from(pair.last().is_some_and(ends));
        let (pair, separator) = pair.split_at(end);
        if is_document(pair) && tells_secret(pair, is_named) {
            // Where it ends is not known here.
            given(Piece::Secret);
            return;
        }
        let goes_on = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                let (name, value) = (&pair[..at], &pair[at + 1..]);
                let value = match holds_secret(name, value, is_named) {
                    true => Piece::Secret,
                    false => Piece::Text(value),
                };
                without_users(name, given) && given(Piece::Text(b"=")) && given(value)
            }
            // A name or a document that was escaped as a whole.
            None if pair.contains(&b'%') && tells_secret(pair, is_named) => given(Piece::Secret),
            None => without_users(pair, given),
        };
        if !goes_on || !given(Piece::Text(separator)) {
            return;
        }
    }
}

/// Gives a text without `user:password@` behind each `://`, where that stands in front of a
/// host.
fn without_users<'a>(text: &'a [u8], given: &mut dyn FnMut(Piece<'a>) -> bool) -> bool {
    let mut rest = text;
    while let Some((front, behind)) = user_information(rest) {
        if !given(Piece::Text(front)) || !given(Piece::Secret) {
            return false;
        }
        rest = behind;
    }
    given(Piece::Text(rest))
}

/// What stands before the first user information of a text, and behind it.
fn user_information(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut start = 0;
    while let Some(slashes) = text[start..].windows(3).position(|window| window == b"://") {
        start += slashes + 3;
        let authority = text[start..].split(|byte| matches!(byte, b'/' | b'"'));
        let authority = authority.into_iter().next().unwrap_or_default();
        if let Some(at) = authority.iter().rposition(|byte| *byte == b'@') {
            return Some((&text[..start], &text[start + at..]));
        }
    }
    None
}

/// Tells whether a value is that of a secret, or has one in it: a target to return to, a
/// form, a document. These are not taken apart.
fn holds_secret(name: &[u8], value: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> bool {
    // In a path only the last part is the name.
    let name = match name.first() {
        Some(b'/') => name.rsplit(|byte| *byte == b'/').next().unwrap_or(name),
        _ => name,
    };
    !value.is_empty() && (is_secret(name, is_named) || tells_secret(value, is_named))
}

/// How often a text is decoded that may have another in it: a login page that returns to a
/// page that returns to a third.
const DECODED: usize = 3;

/// Tells whether a text has the name of a secret with a value, at whatever depth it was
/// escaped.
fn tells_secret(text: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..=DECODED {
        if is_document(&text) && text.split(|byte| *byte == b'"').any(is_named) {
            return true;
        }
        let ends = |byte: &u8| matches!(byte, b'?' | b'&' | b';' | b'#' | b' ');
        let is_pair_of_secret = |pair: &[u8]| {
            let at = pair.iter().position(|byte| *byte == b'=');
            at.is_some_and(|at| at + 1 < pair.len() && is_secret(&pair[..at], is_named))
        };
        if text.split(ends).any(is_pair_of_secret) || user_information(&text).is_some() {
            return true;
        }
        match url_decode(&text) {
            Some(decoded) => text = Cow::Owned(decoded),
            None => return false,
        }
    }
    false
}

fn is_document(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn is_secret(name: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> bool {
    // Twice: what one decoding hides, a backend behind another proxy may read.
    let once = url_decode(name);
    let once = once.as_deref().unwrap_or(name);
    is_named(once) || url_decode(once).is_some_and(|twice| is_named(&twice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::SecretNames;

    #[test]
    fn values_of_secrets_are_masked_and_others_stay() {
        let names = SecretNames::default();
        let is_named = |name: &[u8]| names.has(name);
        let masked = |target: &str| {
            let masked = mask_target(target.as_bytes(), &is_named);
            assert_eq!(
                target_has_secret(target.as_bytes(), &is_named),
                masked != target.as_bytes(),
                "{target}"
            );
            String::from_utf8(masked).expect("text")
        };
        for (target, expected) in [
            ("/a?q=1&password=hunter2&x=%20", "/a?q=1&password=***&x=%20"),
            ("/a?p%61ssword=hunter2", "/a?p%61ssword=***"),
            ("/a?p%2561ssword=hunter2", "/a?p%2561ssword=***"),
            ("/a?password=a=b;c=d", "/a?password=***;c=d"),
            ("/a;jsessionid=77?q=1", "/a;jsessionid=***?q=1"),
            ("/a?password=&q=1", "/a?password=&q=1"),
            ("/a?password", "/a?password"),
            ("/a?next=%2Fcb%3Ftoken%3Dhunter2&q=1", "/a?next=***&q=1"),
            (
                "/a?data=%7B%22password%22%3A%22hunter2%22%7D",
                "/a?data=***",
            ),
            ("/a?next=%2Fcb%3Fpage%3D2", "/a?next=%2Fcb%3Fpage%3D2"),
            ("GET /?token=a HTTP/1.1", "GET /?token=*** HTTP/1.1"),
            ("http://u:p@h/?q=a@b", "http://***@h/?q=a@b"),
            ("/?u=http://h/&x=1", "/?u=http://h/&x=1"),
            ("password=hunter2&b=1", "password=***&b=1"),
            (
                "token=hunter2&next=https://app.test&email=me@example.com",
                "token=***&next=https://app.test&email=me@example.com",
            ),
            (
                "code=1&id_token=a.b.c&redirect_uri=https://app.test&login_hint=bob@x.test",
                "code=1&id_token=***&redirect_uri=https://app.test&login_hint=bob@x.test",
            ),
            ("password=hunter2&next=http://u@h/", "password=***&next=***"),
            ("token=abc://def@ghi", "token=***"),
            ("/p/http://h/http://u:pw@x/", "/p/http://h/http://***@x/"),
            (
                "next=https%3A%2F%2Fa%2Flogin%3Fnext%3D%252Fcb%253Ftoken%253Dhunter2",
                "next=***",
            ),
            ("/?%7B%22password%22%3A%22hunter2%22%7D", "/?***"),
            ("/?a=1&password%3Dhunter2", "/?a=1&***"),
            ("/a;password%3Dhunter2", "/a;***"),
            ("/?{\"password\":\"a;b\",\"q\":\"a=b\"}", "/?***"),
            ("/?{\"q\":\"a=b\"}&c=d", "/?{\"q\":\"a=b\"}&c=d"),
            ("/secrets/list/page=2", "/secrets/list/page=2"),
            ("/a/token=2", "/a/token=***"),
            ("/a%20b?c%20d", "/a%20b?c%20d"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(masked(target), expected);
        }
    }
}
