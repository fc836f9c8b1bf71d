//! `t:removeNulls` and `t:replaceNulls`.

/// Removes NUL bytes.
pub(super) fn remove(input: &[u8]) -> Option<Vec<u8>> {
    input
        .contains(&0)
        .then(|| input.iter().copied().filter(|byte| *byte != 0).collect())
}

/// Replaces each NUL byte with a space.
pub(super) fn replace(input: &[u8]) -> Option<Vec<u8>> {
    input.contains(&0).then(|| {
        input
            .iter()
            .map(|byte| if *byte == 0 { b' ' } else { *byte })
            .collect()
    })
}
