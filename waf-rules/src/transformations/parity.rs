//! `t:parityEven7bit`, `t:parityOdd7bit` and `t:parityZero7bit`: the eighth bit
//! of every byte.

/// Makes the number of bits in every byte even.
pub(super) fn even(input: &[u8]) -> Vec<u8> {
    input.iter().map(|byte| with_parity(*byte, 0)).collect()
}

/// Makes the number of bits in every byte odd.
pub(super) fn odd(input: &[u8]) -> Vec<u8> {
    input.iter().map(|byte| with_parity(*byte, 1)).collect()
}

/// Clears the eighth bit.
pub(super) fn zero(input: &[u8]) -> Option<Vec<u8>> {
    (!input.is_ascii()).then(|| input.iter().map(|byte| byte & 0x7f).collect())
}

fn with_parity(byte: u8, wanted: u32) -> u8 {
    let seven = byte & 0x7f;
    if seven.count_ones() % 2 == wanted {
        seven
    } else {
        seven | 0x80
    }
}
