//! `@validateUrlEncoding`.

/// Tells whether every `%` is followed by two hexadecimal digits.
pub(super) fn is_valid(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match &rest[at + 1..] {
            [high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = tail
            }
            _ => return false,
        }
    }
    true
}
