//! Comments of HTML that some browsers do not take for one.

/// Tells whether a comment may be more than that.
pub(super) fn is_banned(text: &[u8]) -> bool {
    // A tick ends a comment in Internet Explorer; `[if` and `?xml` are conditions and data.
    text.contains(&b'`')
        || text.len() > 3 && (begins_with(text, b"[IF") || begins_with(text, b"XML"))
        || begins_with(text, b"IMPORT")
        || begins_with(text, b"ENTITY")
}

fn begins_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(start))
}
