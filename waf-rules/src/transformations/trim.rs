//! `t:trim`, `t:trimLeft` and `t:trimRight`.

use super::white_space::is_space;

/// Removes white space at both ends.
pub(super) fn trim(input: &[u8]) -> Option<Vec<u8>> {
    within(input, start(input), end(input))
}

/// Removes white space at the beginning.
pub(super) fn left(input: &[u8]) -> Option<Vec<u8>> {
    within(input, start(input), input.len())
}

/// Removes white space at the end.
pub(super) fn right(input: &[u8]) -> Option<Vec<u8>> {
    within(input, 0, end(input))
}

fn start(input: &[u8]) -> usize {
    input
        .iter()
        .position(|byte| !is_space(*byte))
        .unwrap_or(input.len())
}

fn end(input: &[u8]) -> usize {
    input
        .iter()
        .rposition(|byte| !is_space(*byte))
        .map_or(0, |last| last + 1)
}

fn within(input: &[u8], start: usize, end: usize) -> Option<Vec<u8>> {
    (end.saturating_sub(start) < input.len())
        .then(|| input.get(start..end).unwrap_or_default().to_vec())
}
