//! `t:escapeSeqDecode`: escapes of C strings.

use super::hex_byte;

/// Decodes `\a \b \f \n \r \t \v \\ \? \' \"`, `\xHH` and `\OOO`; any other
/// escape stays as it is.
pub(super) fn escape_seq_decode(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().position(|byte| *byte == b'\\')?;
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        let simple = match rest {
            [b'\\', letter, ..] => match letter {
                b'a' => Some(0x07),
                b'b' => Some(0x08),
                b'f' => Some(0x0c),
                b'n' => Some(b'\n'),
                b'r' => Some(b'\r'),
                b't' => Some(b'\t'),
                b'v' => Some(0x0b),
                b'\\' | b'?' | b'\'' | b'"' => Some(*letter),
                _ => None,
            },
            _ => None,
        };
        at += match (simple, rest) {
            (Some(byte), _) => {
                output.push(byte);
                2
            }
            (None, [b'\\', b'x' | b'X', digits @ ..]) if hex_byte(digits).is_some() => {
                output.extend(hex_byte(digits));
                4
            }
            (None, [b'\\', digits @ ..]) if matches!(digits.first(), Some(b'0'..=b'7')) => {
                let octal = digits
                    .iter()
                    .take(3)
                    .take_while(|byte| matches!(byte, b'0'..=b'7'));
                let (value, count) =
                    octal.fold((0_u32, 0), |(v, n), d| (v * 8 + u32::from(d - b'0'), n + 1));
                output.push(value as u8);
                1 + count
            }
            _ => {
                output.push(rest[0]);
                1
            }
        };
    }
    Some(output)
}
