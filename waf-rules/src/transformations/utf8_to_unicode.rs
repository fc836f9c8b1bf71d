//! `t:utf8toUnicode`: UTF-8 sequences become `%uHHHH`.

/// Writes every multi-byte UTF-8 sequence as `%u` and its code point in
/// hexadecimal, at least four digits; bytes that are not UTF-8 stay.
pub(super) fn utf8_to_unicode(input: &[u8]) -> Option<Vec<u8>> {
    if input.is_ascii() {
        return None;
    }
    let mut output = Vec::with_capacity(input.len() * 2);
    for chunk in input.utf8_chunks() {
        for c in chunk.valid().chars() {
            match u8::try_from(c) {
                Ok(byte) if byte.is_ascii() => output.push(byte),
                _ => output.extend_from_slice(format!("%u{:04x}", u32::from(c)).as_bytes()),
            }
        }
        output.extend_from_slice(chunk.invalid());
    }
    Some(output)
}
