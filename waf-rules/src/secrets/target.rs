//! Secrets in a request target, a form, or another text with a query in it.

use memchr::memchr2;

use super::MASK;
use crate::transformations::url_decode;

/// Masks the values of secrets in the query of a target, and the user information in
/// front of its host. The names are read as a backend reads them: decoded; `is_named` tells which are of secrets.
pub(crate) fn mask_target(target: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut output = Vec::with_capacity(target.len());
    for piece in pieces(target) {
        match piece {
            Piece::Secret => output.extend_from_slice(MASK.as_bytes()),
            Piece::Value { name, value } => match holds_secret(name, value, is_named) {
                true => output.extend_from_slice(MASK.as_bytes()),
                false => output.extend_from_slice(value),
            },
            Piece::Text(text) => output.extend_from_slice(text),
        }
    }
    output
}

/// Tells whether [`mask_target`] would mask anything.
pub(crate) fn target_has_secret(target: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> bool {
    // No value without the one, and no user information without the other.
    if memchr2(b'=', b'@', target).is_none() {
        return false;
    }
    pieces(target).any(|piece| match piece {
        Piece::Secret => true,
        Piece::Value { name, value } => holds_secret(name, value, is_named),
        Piece::Text(_) => false,
    })
}

/// Tells whether a value is that of a secret, or has one in it: a target to return to, a
/// form, a document. These are not taken apart.
fn holds_secret(name: &[u8], value: &[u8], is_named: &dyn Fn(&[u8]) -> bool) -> bool {
    if value.is_empty() {
        return false;
    }
    if is_secret(name, is_named) {
        return true;
    }
    let decoded = url_decode(value);
    let decoded = decoded.as_deref().unwrap_or(value);
    if matches!(decoded.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return decoded.split(|byte| *byte == b'"').any(is_named);
    }
    pieces(decoded).any(|piece| match piece {
        Piece::Secret => true,
        Piece::Value { name, value } => !value.is_empty() && is_secret(name, is_named),
        Piece::Text(_) => false,
    })
}

enum Piece<'a> {
    Text(&'a [u8]),
    Value { name: &'a [u8], value: &'a [u8] },
    Secret,
}

/// Takes a text apart at `?`, `&`, `;`, `#` and blanks; what stands before a `=` is a name.
fn pieces(target: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let (front, user, rest) = user_information(target);
    let ends = |byte: &u8| matches!(byte, b'?' | b'&' | b';' | b'#' | b' ');
    let pairs = rest
        .split_inclusive(ends as fn(&u8) -> bool)
        .flat_map(move |pair| {
            let end = match pair.last() {
                Some(last) if ends(last) => pair.len() - 1,
                _ => pair.len(),
            };
            let (pair, separator) = pair.split_at(end);
            match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => [
                    Piece::Text(&pair[..=at]),
                    Piece::Value {
                        name: &pair[..at],
                        value: &pair[at + 1..],
                    },
                    Piece::Text(separator),
                ],
                None => [Piece::Text(pair), Piece::Text(separator), Piece::Text(&[])],
            }
        });
    let user = (!user.is_empty()).then_some(Piece::Secret);
    std::iter::once(Piece::Text(front)).chain(user).chain(pairs)
}

/// Splits at `//user:password@`, where that stands in front of a host.
fn user_information(target: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let none = (&target[..0], &target[..0], target);
    let Some(slashes) = target.windows(3).position(|window| window == b"://") else {
        return none;
    };
    let start = slashes + 3;
    let end = target[start..]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b' '))
        .map_or(target.len(), |length| start + length);
    match target[start..end].iter().rposition(|byte| *byte == b'@') {
        Some(at) => (
            &target[..start],
            &target[start..start + at],
            &target[start + at..],
        ),
        None => none,
    }
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
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(masked(target), expected);
        }
    }
}
