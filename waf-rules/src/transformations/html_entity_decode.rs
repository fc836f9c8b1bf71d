//! `t:htmlEntityDecode`: numeric and the common named entities.

use super::{hex_number, push_code_point};

/// Names that matter in markup. `Tab`, `NewLine`, `colon`, `lpar` and their kin
/// are not in the manual, but browsers decode them in attributes.
const NAMED: &[(&[u8], u8)] = &[
    (b"quot", b'"'),
    (b"amp", b'&'),
    (b"apos", b'\''),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"nbsp", 0xa0),
    (b"tab", b'\t'),
    (b"newline", b'\n'),
    (b"colon", b':'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"sol", b'/'),
    (b"bsol", b'\\'),
    (b"grave", b'`'),
];

/// Decodes `&#DDD;`, `&#xHHH;` and named entities; the semicolon may be missing.
pub(super) fn html_entity_decode(input: &[u8]) -> Option<Vec<u8>> {
    input.iter().position(|byte| *byte == b'&')?;
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        let decoded = match input[at] {
            b'&' => entity(&input[at + 1..], &mut output),
            _ => None,
        };
        match decoded {
            Some(length) => at += 1 + length,
            None => {
                output.push(input[at]);
                at += 1;
            }
        }
    }
    Some(output)
}

/// Decodes what follows an ampersand; returns how many bytes it took.
fn entity(rest: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    let (code, length) = match rest {
        [b'#', b'x' | b'X', digits @ ..] => {
            let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
            let (code, count) = hex_number(&digits[zeros..], 7);
            (zeros + count > 0).then_some((code, 2 + zeros + count))?
        }
        [b'#', digits @ ..] => {
            let count = digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let value = digits[..count].iter().fold(0_u32, |value, digit| {
                value
                    .saturating_mul(10)
                    .saturating_add(u32::from(digit - b'0'))
            });
            (count > 0).then_some((value, 1 + count))?
        }
        _ => {
            let count = rest
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .count();
            let name = &rest[..count];
            let (_, byte) = NAMED
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            (u32::from(*byte), count)
        }
    };
    push_code_point(output, code);
    Some(length + usize::from(rest.get(length) == Some(&b';')))
}
