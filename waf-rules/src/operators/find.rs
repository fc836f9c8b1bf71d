//! Looks for bytes in bytes.

use aho_corasick::AhoCorasick;

/// Needles up to this length are searched for without preparation.
const SHORT: usize = 32;

/// Returns where `needle` begins in `haystack`; an empty one is everywhere.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let Some(first) = needle.first() else {
        return Some(0);
    };
    if needle.len() > SHORT
        && let Ok(searcher) = AhoCorasick::new([needle])
    {
        // A long needle comes from a request, and the two could be made to
        // agree for long at every place.
        return searcher.find(haystack).map(|found| found.start());
    }
    let mut at = 0;
    while let Some(next) = haystack.get(at..)?.iter().position(|byte| byte == first) {
        at += next;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}
