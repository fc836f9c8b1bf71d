//! `t:base64Decode`, `t:base64DecodeExt` and `t:base64Encode`.

/// Decodes up to the first byte that is not of the alphabet.
///
/// Both alphabets are read: applications accept `-` and `_` as well.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let end = input
        .iter()
        .position(|byte| SEXTETS[usize::from(*byte)] == NONE);
    Some(decoded(&input[..end.unwrap_or(input.len())]))
}

/// Decodes and passes over bytes that are not of the alphabet.
pub(super) fn decode_ext(input: &[u8]) -> Option<Vec<u8>> {
    Some(decoded(input))
}

fn decoded(input: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(input.len().div_ceil(4) * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in input {
        let value = SEXTETS[usize::from(*byte)];
        if value == NONE {
            continue;
        }
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            output.push((bits >> count) as u8);
        }
    }
    output
}

/// What stands for a byte that is not of the alphabet.
const NONE: u8 = u8::MAX;

/// By byte, the six bits that it is.
static SEXTETS: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut byte = 0;
    while byte < 256 {
        if let Some(sextet) = sextet(byte as u8) {
            table[byte] = sextet;
        }
        byte += 1;
    }
    table
};

const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Encodes with padding.
pub(super) fn encode(input: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut output = Vec::with_capacity(input.len().div_ceil(3) * 4);
    for group in input.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let sextet = (bits >> (18 - 6 * index) & 63) as usize;
            output.push(if index <= group.len() {
                ALPHABET[sextet]
            } else {
                b'='
            });
        }
    }
    output
}
