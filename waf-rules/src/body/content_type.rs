//! `Content-Type` (RFC 9110, section 8.3).

/// A parsed header value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContentType {
    /// As it was sent.
    pub(crate) raw: Vec<u8>,
    /// Type and subtype, in lower case.
    pub(crate) essence: Vec<u8>,
}

impl ContentType {
    /// Parses a value.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
        Self {
            raw: value.to_vec(),
            essence: essence.trim_ascii().to_ascii_lowercase(),
        }
    }
}

/// Splits at semicolons outside of quotes.
pub(super) fn split(value: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (index, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                parts.push(&value[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts
}

/// Removes the quotes of a quoted string. A backslash escapes only `"` and
/// itself: browsers send paths of Windows with single ones.
pub(super) fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inside) = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
    else {
        return value.to_vec();
    };
    let mut output = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => output.push(
                *bytes
                    .next_if(|next| matches!(next, b'"' | b'\\'))
                    .unwrap_or(byte),
            ),
            _ => output.push(*byte),
        }
    }
    output
}
