//! Which rules of a phase are still to be asked.
//!
//! Most rules cannot match what a request has, and all that ask the same values are known
//! not to at once: they are crossed out, so that their turn costs nothing.

use super::Conditions;
use crate::compile::Phase;

/// The rules of one run of a phase, by their place.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// Which are left.
    words: Vec<u64>,
    /// The groups whose rules were gone through.
    known: Vec<bool>,
}

impl Agenda {
    /// All of some rules.
    pub(crate) fn new(phase: &Phase, groups: usize) -> Self {
        let rules = phase.rules.len();
        let mut words = vec![u64::MAX; rules.div_ceil(64)];
        if let Some(last) = words.last_mut() {
            *last >>= (64 - rules % 64) % 64;
        }
        Self {
            words,
            known: vec![false; groups],
        }
    }

    /// The next rule, at a place or behind it.
    pub(crate) fn next(&self, at: usize) -> Option<usize> {
        let mut index = at / 64;
        let mut word = self.words.get(index)? & (u64::MAX << (at % 64));
        while word == 0 {
            index += 1;
            word = *self.words.get(index)?;
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    /// Whether the rules that ask a group were gone through.
    pub(crate) fn knows(&self, group: u32) -> bool {
        self.known[group as usize]
    }

    /// Crosses out the rules that ask a group for a condition that none of its values may match.
    pub(crate) fn cross_out(&mut self, phase: &Phase, group: u32, conditions: Conditions<'_>) {
        self.known[group as usize] = true;
        // A request goes through hundreds of them: without a way out, and each set once.
        let conditions = conditions.words();
        if conditions.is_empty() {
            return;
        }
        for &(rule, condition) in phase.asking(group) {
            let (at, bit) = (condition as usize / 64, condition % 64);
            let stays = conditions.get(at).map_or(1, |word| word >> bit & 1);
            if let Some(word) = self.words.get_mut(rule as usize / 64) {
                *word &= !((stays ^ 1) << (rule % 64));
            }
        }
    }
}
