//! `t:urlEncode`.

/// Encodes all but letters, digits and `*`; a space becomes `+`.
pub(super) fn url_encode(input: &[u8]) -> Option<Vec<u8>> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'*';
    if input.iter().all(plain) {
        return None;
    }
    let mut output = Vec::with_capacity(input.len() * 2);
    for byte in input {
        match byte {
            b' ' => output.push(b'+'),
            byte if plain(byte) => output.push(*byte),
            byte => output.extend(format!("%{byte:02x}").bytes()),
        }
    }
    Some(output)
}
