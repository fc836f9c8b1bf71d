//! Labels whose values others choose, and which must not be without bound.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// The value of all that have none of their own. No name of a policy has parentheses.
const OTHERS: &str = "(others)";

/// The first so many values, each of which has series of its own.
#[derive(Debug)]
pub(super) struct BoundedLabels {
    max: usize,
    known: Mutex<HashSet<String>>,
}

impl BoundedLabels {
    /// None yet, and at most so many.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            known: Mutex::default(),
        }
    }

    /// The value that a name is counted by: itself, or that of all others.
    pub(super) fn of<'n>(&self, name: &'n str) -> &'n str {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name;
        }
        if known.len() >= self.max {
            return OTHERS;
        }
        known.insert(name.to_owned());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_have_their_names_and_keep_them() {
        let labels = BoundedLabels::new(2);
        assert_eq!(
            ["a", "b", "c", "a", "d", "b"].map(|name| labels.of(name)),
            ["a", "b", OTHERS, "a", OTHERS, "b"]
        );
    }
}
