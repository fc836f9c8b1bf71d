//! Forms and queries: `name=value&…`.

use crate::{transaction::Fields, transformations::url_decode};

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
