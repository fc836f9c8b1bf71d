//! `t:cssDecode`: escapes of CSS.

use super::{hex_number, push_code_point};

/// Decodes a backslash with one to six hexadecimal digits and the one white
/// space that may end them, `\` before a line end, and `\` before any other byte.
pub(super) fn css_decode(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().position(|byte| *byte == b'\\')?;
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        at += match rest {
            [b'\\', digits @ ..] if hex_number(digits, 6).1 > 0 => {
                let (code, count) = hex_number(digits, 6);
                push_code_point(&mut output, code);
                1 + count + usize::from(digits.get(count).is_some_and(u8::is_ascii_whitespace))
            }
            [b'\\', b'\n', ..] => 2,
            [b'\\', byte, ..] => {
                output.push(*byte);
                2
            }
            _ => {
                output.push(rest[0]);
                1
            }
        };
    }
    Some(output)
}
