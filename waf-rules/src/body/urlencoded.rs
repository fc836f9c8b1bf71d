//! Forms and queries: `name=value&…`.

use super::{ParseOptions, Parsed};
use crate::{transaction::Fields, transformations::url_decode};

/// Parses a form. Nothing in it is a problem; an invalid escape is noted.
pub(super) fn parse(body: &[u8], options: &ParseOptions<'_>) -> Parsed {
    let mut parsed = Parsed {
        invalid_escape: has_invalid_escape(body),
        ..Parsed::default()
    };
    parsed.too_many_arguments = !arguments(
        body,
        options.separator,
        options.max_arguments,
        &mut parsed.arguments,
    );
    parsed
}

/// Tells whether a `%` is not followed by two hexadecimal digits.
pub(crate) fn has_invalid_escape(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).any(|at| {
        !matches!(text.get(at + 1..at + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Appends the decoded fields of a form or query to `fields`.
///
/// A field without `=` is a name with an empty value, as in ModSecurity. Stops
/// and returns `false` when `fields` would have more than `most`.
pub(crate) fn arguments(text: &[u8], separator: u8, most: usize, fields: &mut Fields) -> bool {
    for part in text
        .split(|byte| *byte == separator)
        .filter(|part| !part.is_empty())
    {
        if fields.len() >= most {
            return false;
        }
        let equals = part.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(equals) => (&part[..equals], &part[equals + 1..]),
            None => (part, &part[part.len()..]),
        };
        fields.push(decoded(name), decoded(value));
    }
    true
}

fn decoded(text: &[u8]) -> Vec<u8> {
    url_decode(text).unwrap_or_else(|| text.to_vec())
}
