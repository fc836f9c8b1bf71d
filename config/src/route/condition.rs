//! Conditions on the parts of a request beside its path and method.

use http::HeaderMap;

use super::cookie::cookie as cookie_value;
use crate::model::{HeaderMatch, ParameterMatch, ValueMatch};

/// Whether a header is as wanted; of several lines one must be.
pub(super) fn header(wanted: &HeaderMatch, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&wanted.name).iter();
    match &wanted.value {
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Absent => values.next().is_none(),
        exact_or_regex => values.any(|value| is_as(exact_or_regex, Some(value.as_bytes()))),
    }
}

/// Whether a cookie is as wanted.
pub(super) fn cookie(wanted: &ParameterMatch, headers: &HeaderMap) -> bool {
    is_as(&wanted.value, cookie_value(headers, &wanted.name))
}

/// Whether a query parameter is as wanted.
pub(super) fn query(wanted: &ParameterMatch, query: Option<&[u8]>) -> bool {
    let value = form_urlencoded::parse(query.unwrap_or_default())
        .find(|(name, _)| *name == wanted.name)
        .map(|(_, value)| value);
    is_as(&wanted.value, value.as_deref().map(str::as_bytes))
}

fn is_as(wanted: &ValueMatch, value: Option<&[u8]>) -> bool {
    match (wanted, value) {
        (ValueMatch::Present, value) => value.is_some(),
        (ValueMatch::Absent, value) => value.is_none(),
        (_, None) => false,
        (ValueMatch::Exact(text), Some(value)) => value == text.as_bytes(),
        (ValueMatch::Regex(regex), Some(value)) => {
            // What is not UTF-8 has no characters that a pattern could mean.
            std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text))
        }
    }
}
