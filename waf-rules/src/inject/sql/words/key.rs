//! Words as numbers, which are quick to compare and to hash.

/// A word of up to 31 bytes in capitals, eight bytes in a number, with zeros behind it.
pub(super) type Key = [u64; 4];

/// Reads a word as numbers. Copying it into an array first took twice the time of all that
/// is done with it: processors wait where they read many bytes that were written as few.
pub(super) fn key(word: &[u8]) -> Key {
    let mut key = Key::default();
    let (parts, rest) = word.as_chunks::<8>();
    for (number, part) in key.iter_mut().zip(parts) {
        *number = upper(u64::from_le_bytes(*part));
    }
    if let Some(number) = key.get_mut(parts.len())
        && !rest.is_empty()
    {
        *number = upper(match word.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => few(rest),
        });
    }
    key
}

/// Reads less than eight bytes.
fn few(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (bytes.len() - 4));
    }
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Makes letters capital, eight at once.
fn upper(bytes: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = bytes & (ONES * 0x7f);
    // The highest bit of each sum tells whether the byte is as high.
    let from_a = low + ONES * (0x80 - b'a' as u64);
    let beyond_z = low + ONES * (0x7f - b'z' as u64);
    let letters = (from_a ^ beyond_z) & !bytes & (ONES * 0x80);
    bytes ^ letters >> 2
}

/// Returns a number that few other words have.
pub(super) fn hash(key: &Key) -> u64 {
    const FACTORS: [u64; 4] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
    ];
    // The products do not wait for each other.
    let products = key.iter().zip(FACTORS);
    let products = products.map(|(part, factor)| part.wrapping_mul(factor));
    let sum = products.fold(0, u64::wrapping_add);
    sum ^ sum >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_become_capital_whatever_is_beside_them() {
        for byte in 0..=255_u8 {
            let bytes = [byte, 0xff, byte, b'z', byte, b'{', 0x80, b'`'];
            let capital = bytes.map(|byte| byte.to_ascii_uppercase());
            assert_eq!(
                upper(u64::from_le_bytes(bytes)),
                u64::from_le_bytes(capital)
            );
        }
    }
}
