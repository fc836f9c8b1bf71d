//! How often what is kept is written. Who undoes it over and over, and an API server that refuses it,
//! make few questions.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The pause after the first write; each further one doubles it.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause: what is undone stands open for so long at most.
const LONGEST: Duration = Duration::from_secs(30);
/// After this time without a write it begins anew.
const QUIET: Duration = Duration::from_secs(90);

/// When each namespace may be written again.
#[derive(Debug, Default)]
pub(super) struct Paces(HashMap<String, Pace>);

#[derive(Debug)]
struct Pace {
    writes: u32,
    last: Instant,
}

impl Pace {
    fn next(&self) -> Instant {
        let doubled = FIRST.saturating_mul(2u32.saturating_pow(self.writes.saturating_sub(1)));
        self.last + doubled.min(LONGEST)
    }
}

impl Paces {
    /// When a namespace may be written; `None` means now.
    pub(super) fn until(&self, namespace: &str, now: Instant) -> Option<Instant> {
        let next = self.0.get(namespace)?.next();
        (next > now).then_some(next)
    }

    /// Notes that a namespace was written, or that it was tried.
    pub(super) fn note(&mut self, namespace: &str, now: Instant) {
        // Nothing is kept of those that are left alone.
        self.0
            .retain(|_, pace| now.saturating_duration_since(pace.last) < QUIET);
        let pace = self.0.entry(namespace.to_owned()).or_insert(Pace {
            writes: 0,
            last: now,
        });
        pace.writes = pace.writes.saturating_add(1);
        pace.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_end_when_nothing_is_written() {
        let mut paces = Paces::default();
        let mut now = Instant::now();
        assert_eq!(paces.until("a", now), None);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            paces.note("a", now);
            let until = paces.until("a", now).expect("a pause");
            pauses.push((until - now).as_millis());
            now = until;
            assert_eq!(paces.until("a", now), None);
        }
        assert_eq!(pauses[..4], [250, 500, 1000, 2000]);
        assert_eq!(pauses[7..], [30_000; 3]);
        assert_eq!(paces.until("b", now), None, "each namespace by itself");
        now += QUIET;
        paces.note("b", now);
        assert_eq!(paces.0.len(), 1);
        paces.note("a", now);
        assert_eq!(paces.until("a", now), Some(now + FIRST));
    }
}
