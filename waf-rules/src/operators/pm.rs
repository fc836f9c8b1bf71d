//! `@pm` and `@pmFromFile`: many words at once.

use aho_corasick::{AhoCorasick, MatchKind};

use super::Captures;
use crate::{error::Complaint, prefilter::is_rare, source::RuleSource};

/// A set of words, compared without regard to ASCII case.
#[derive(Clone, Debug)]
pub(crate) struct Pm {
    automaton: AhoCorasick,
    words: Vec<Vec<u8>>,
}

impl Pm {
    /// Takes words separated by blanks; `|41 42|` in a word are bytes.
    pub(super) fn words(argument: &str) -> Result<Self, Complaint> {
        let mut words = Vec::new();
        let mut word = Vec::new();
        let mut parts = argument.split('|').peekable();
        let mut hexadecimal = false;
        while let Some(part) = parts.next() {
            if hexadecimal && parts.peek().is_some() && is_hex_list(part) {
                let bytes = part.split_ascii_whitespace();
                word.extend(bytes.filter_map(|byte| u8::from_str_radix(byte, 16).ok()));
                hexadecimal = false;
                continue;
            }
            if hexadecimal {
                word.push(b'|');
            }
            for (index, piece) in part.split(char::is_whitespace).enumerate() {
                if index > 0 && !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                word.extend_from_slice(piece.as_bytes());
            }
            hexadecimal = true;
        }
        if !word.is_empty() {
            words.push(word);
        }
        Self::new(words)
    }

    /// Reads words from files, one a line; `#` begins a comment line.
    pub(super) fn files(paths: &str, source: &dyn RuleSource) -> Result<Self, Complaint> {
        let mut words = Vec::new();
        for path in paths.split_whitespace() {
            let text = source
                .read(path)
                .map_err(|reason| Complaint::new(format!("cannot read {path}: {reason}")))?;
            let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
            words.extend(
                lines
                    .filter(|l| !l.is_empty() && !l.starts_with('#'))
                    .map(|l| l.as_bytes().to_vec()),
            );
        }
        Self::new(words)
    }

    fn new(words: Vec<Vec<u8>>) -> Result<Self, Complaint> {
        if words.is_empty() {
            return Err(Complaint::new("there is no word to look for"));
        }
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(&words)
            .map(|automaton| Self { automaton, words })
            .map_err(|error| Complaint::new(error.to_string()))
    }

    /// The words, where all are worth looking for.
    pub(super) fn literals(&self) -> Option<Vec<Vec<u8>>> {
        let all = self.words.iter().all(|word| is_rare(word));
        all.then(|| {
            self.words
                .iter()
                .map(|word| word.to_ascii_lowercase())
                .collect()
        })
    }

    pub(super) fn find(&self, value: &[u8], capture: bool) -> Option<Captures> {
        let found = self.automaton.find(value)?;
        Some(if capture {
            vec![value[found.range()].to_vec()]
        } else {
            Vec::new()
        })
    }
}

fn is_hex_list(text: &str) -> bool {
    !text.trim().is_empty()
        && text
            .split_ascii_whitespace()
            .all(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()))
}
