//! `t:urlDecodeUni`: `+`, `%HH` and `%uHHHH`.

use super::{hex_byte, hex_number, push_code_point};

/// Decodes like `t:urlDecode`, and `%uHHHH` as well.
pub(super) fn url_decode_uni(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().position(|byte| matches!(byte, b'%' | b'+'))?;
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        let taken = match rest {
            [b'+', ..] => {
                output.push(b' ');
                1
            }
            [b'%', b'u' | b'U', digits @ ..] if hex_number(digits, 4).1 == 4 => {
                push_code_point(&mut output, hex_number(digits, 4).0);
                6
            }
            [b'%', digits @ ..] => match hex_byte(digits) {
                Some(byte) => {
                    output.push(byte);
                    3
                }
                None if digits.first() == Some(&b'+') => {
                    output.extend_from_slice(b"%+");
                    2
                }
                None => {
                    output.push(b'%');
                    1
                }
            },
            _ => {
                output.push(rest[0]);
                1
            }
        };
        at += taken;
    }
    Some(output)
}
