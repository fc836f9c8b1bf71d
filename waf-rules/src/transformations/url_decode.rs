//! `t:urlDecode`: `+` and `%HH`.

use super::hex_byte;

/// Decodes `+` and `%HH`; an invalid escape stays as it is, every byte of it.
pub(crate) fn url_decode(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().position(|byte| matches!(byte, b'%' | b'+'))?;
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        match input[at] {
            b'+' => output.push(b' '),
            b'%' => match hex_byte(&input[at + 1..]) {
                Some(byte) => {
                    output.push(byte);
                    at += 2;
                }
                // In "%+FF" the plus belongs to the broken escape.
                None if input.get(at + 1) == Some(&b'+') => {
                    output.extend_from_slice(b"%+");
                    at += 1;
                }
                None => output.push(b'%'),
            },
            byte => output.push(byte),
        }
        at += 1;
    }
    Some(output)
}
