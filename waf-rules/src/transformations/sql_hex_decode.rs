//! `t:sqlHexDecode`: hexadecimal literals of SQL.

use super::hex_byte;

/// Decodes `0x` and the pairs of digits after it.
pub(super) fn sql_hex_decode(input: &[u8]) -> Option<Vec<u8>> {
    let is_start = |rest: &[u8]| matches!(rest, [b'0', b'x' | b'X', digits @ ..] if hex_byte(digits).is_some());
    (0..input.len()).find(|at| is_start(&input[*at..]))?;
    let mut output = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        if !is_start(&input[at..]) {
            output.push(input[at]);
            at += 1;
            continue;
        }
        at += 2;
        while let Some(byte) = hex_byte(&input[at..]) {
            output.push(byte);
            at += 2;
        }
    }
    Some(output)
}
