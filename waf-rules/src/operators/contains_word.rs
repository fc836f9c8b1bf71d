//! `@containsWord`.

use memchr::memmem;

/// Tells whether `word` occurs with no letter, digit or underscore beside it.
pub(super) fn contains_word(value: &[u8], word: &[u8]) -> bool {
    let is_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let finder = memmem::Finder::new(word);
    let mut start = 0;
    while let Some(found) = value.get(start..).and_then(|rest| finder.find(rest)) {
        let (begin, end) = (start + found, start + found + word.len());
        let before = begin.checked_sub(1).and_then(|index| value.get(index));
        if !is_word(before) && !is_word(value.get(end)) {
            return true;
        }
        start = begin + 1;
        // Not within a word, which a client could make as long as it likes.
        if is_word(word.first()) {
            let rest = value[start..].iter();
            start += rest.take_while(|byte| is_word(Some(byte))).count();
        }
    }
    false
}
