//! `t:hexDecode` and `t:hexEncode`.

use super::hex_byte;

/// Decodes pairs of digits; what is not a pair stays as it is.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len() / 2);
    let mut at = 0;
    while at < input.len() {
        match hex_byte(&input[at..]) {
            Some(byte) => {
                output.push(byte);
                at += 2;
            }
            None => {
                output.push(input[at]);
                at += 1;
            }
        }
    }
    Some(output)
}

/// Writes every byte as two lowercase digits.
pub(super) fn encode(input: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    input
        .iter()
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        })
        .collect()
}
