//! `t:compressWhitespace` and `t:removeWhitespace`.

/// Replaces each run of white space with one space.
pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    if !input.iter().any(|byte| is_space(*byte)) {
        return None;
    }
    let mut output = Vec::with_capacity(input.len());
    let mut in_space = false;
    for byte in input {
        match (is_space(*byte), in_space) {
            (true, false) => output.push(b' '),
            (true, true) => {}
            (false, _) => output.push(*byte),
        }
        in_space = is_space(*byte);
    }
    Some(output)
}

/// Removes white space.
pub(super) fn remove(input: &[u8]) -> Option<Vec<u8>> {
    let any = input.iter().any(|byte| is_space(*byte));
    any.then(|| {
        input
            .iter()
            .copied()
            .filter(|byte| !is_space(*byte))
            .collect()
    })
}

/// Tells whether a byte is white space in C.
///
/// ModSecurity adds the no-break space of Latin-1, 0xA0, which would cut UTF-8
/// sequences in two.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
