//! Log lines that one cause may make thousands of.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Time between two lines.
const REST: Duration = Duration::from_secs(30);

/// Lets one event in a while through, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<(Instant, u64)>>);

impl Seldom {
    /// Notes an event; where it may be told, how many were not since the last that was.
    pub(crate) fn note(&self) -> Option<u64> {
        self.note_at(Instant::now())
    }

    fn note_at(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *told {
            Some((last, untold)) if now.saturating_duration_since(*last) < REST => {
                *untold += 1;
                None
            }
            before => {
                let untold = before.map_or(0, |(_, untold)| untold);
                *before = Some((now, 0));
                Some(untold)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_while_is_told_and_the_others_are_counted() {
        let seldom = Seldom::default();
        let start = Instant::now();
        let after = |seconds| seldom.note_at(start + Duration::from_secs(seconds));
        assert_eq!(after(0), Some(0));
        assert_eq!([after(1), after(2), after(29)], [None; 3]);
        assert_eq!(after(30), Some(3));
        assert_eq!(after(31), None);
        assert_eq!(after(61), Some(1));
    }
}
