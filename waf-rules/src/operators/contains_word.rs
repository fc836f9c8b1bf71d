//! `@containsWord`.

use super::find::find;

/// Tells whether `word` occurs with no letter, digit or underscore beside it.
pub(super) fn contains_word(value: &[u8], word: &[u8]) -> bool {
    let is_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut start = 0;
    while let Some(found) = value.get(start..).and_then(|rest| find(rest, word)) {
        let (begin, end) = (start + found, start + found + word.len());
        let before = begin.checked_sub(1).and_then(|index| value.get(index));
        if !is_word(before) && !is_word(value.get(end)) {
            return true;
        }
        start = begin + 1;
    }
    false
}
