//! `t:jsDecode`: escapes of JavaScript strings.

use super::{hex_byte, hex_number, push_code_point};

/// Decodes `\xHH`, `\uHHHH`, `\u{H…}`, `\OOO` and the one-letter escapes.
///
/// The braced form is not in ModSecurity; engines of JavaScript accept it.
pub(super) fn js_decode(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().position(|byte| *byte == b'\\')?;
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        if input[at] != b'\\' || at + 1 == input.len() {
            output.push(input[at]);
            at += 1;
        } else {
            at += 1 + escape(&input[at + 1..], &mut output);
        }
    }
    Some(output)
}

/// Decodes what follows a backslash; returns how many bytes it took, at least 1.
fn escape(rest: &[u8], output: &mut Vec<u8>) -> usize {
    match rest {
        [b'u', b'{', digits @ ..] => {
            let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
            let (code, count) = hex_number(&digits[zeros..], 6);
            if zeros + count > 0 && digits.get(zeros + count) == Some(&b'}') {
                push_code_point(output, code);
                return 3 + zeros + count;
            }
            output.push(b'u');
            1
        }
        [b'u', digits @ ..] if hex_number(digits, 4).1 == 4 => {
            push_code_point(output, hex_number(digits, 4).0);
            5
        }
        [b'x', digits @ ..] if hex_byte(digits).is_some() => {
            output.extend(hex_byte(digits));
            3
        }
        [b'0'..=b'7', ..] => {
            let most = if rest[0] <= b'3' { 3 } else { 2 };
            let digits = rest
                .iter()
                .take(most)
                .take_while(|byte| matches!(byte, b'0'..=b'7'));
            let (value, count) =
                digits.fold((0_u32, 0), |(v, n), d| (v * 8 + u32::from(d - b'0'), n + 1));
            push_code_point(output, value);
            count
        }
        [letter, ..] => {
            output.push(match letter {
                b'a' => 0x07,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                other => *other,
            });
            1
        }
        [] => 1,
    }
}
