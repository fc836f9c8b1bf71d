//! How long an endpoint takes to answer.
//!
//! A moving average that follows a longer time at once, and a shorter one slowly: one
//! slow answer is heeded, and forgotten in some ten seconds.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Time in which an old value loses two thirds of its part.
const DECAY_MILLIS: f64 = 10_000.0;

/// The average: its time in milliseconds above, microseconds below. 0 is none.
#[derive(Debug, Default)]
pub(super) struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Takes an answer into account, at `now` in milliseconds since whenever.
    pub(super) fn observe(&self, now: u64, took: Duration) {
        let took = took.as_micros().clamp(1, u128::from(u32::MAX)) as f64;
        let update = |packed: u64| {
            let value = match unpack(packed) {
                Some((at, before)) if took < before => {
                    let kept = kept(at, now);
                    before * kept + took * (1.0 - kept)
                }
                _ => took,
            };
            Some(pack(now, value))
        };
        // The update is never refused.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// The average in microseconds, the less the longer there was no answer; `None`
    /// before the first.
    pub(super) fn micros(&self, now: u64) -> Option<f64> {
        unpack(self.0.load(Ordering::Relaxed)).map(|(at, value)| value * kept(at, now))
    }
}

fn kept(at: u32, now: u64) -> f64 {
    // The clock of 32 bits goes round in 49 days; an endpoint that has not answered for
    // so long counts as one that has just done.
    let elapsed = (now as u32).wrapping_sub(at);
    (-f64::from(elapsed) / DECAY_MILLIS).exp()
}

fn pack(now: u64, micros: f64) -> u64 {
    (u64::from(now as u32) << 32) | (micros as u64).clamp(1, u64::from(u32::MAX))
}

fn unpack(packed: u64) -> Option<(u32, f64)> {
    let micros = packed as u32;
    (micros > 0).then_some(((packed >> 32) as u32, f64::from(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten() {
        let ewma = PeakEwma::default();
        assert_eq!(ewma.micros(0), None);
        ewma.observe(1_000, Duration::from_millis(1));
        assert_eq!(ewma.micros(1_000), Some(1_000.0));
        ewma.observe(1_001, Duration::from_millis(500));
        assert_eq!(ewma.micros(1_001), Some(500_000.0));
        ewma.observe(1_002, Duration::from_millis(1));
        let heeded = ewma.micros(1_002).expect("an average");
        assert!(heeded > 490_000.0, "{heeded}");
        ewma.observe(31_002, Duration::from_millis(1));
        let forgotten = ewma.micros(31_002).expect("an average");
        assert!((1_000.0..40_000.0).contains(&forgotten), "{forgotten}");
        let quiet = ewma.micros(91_002).expect("an average");
        assert!(quiet < forgotten / 100.0, "{quiet}");
    }

    #[test]
    fn times_beyond_its_range_are_bounded() {
        let ewma = PeakEwma::default();
        ewma.observe(u64::MAX, Duration::from_secs(1 << 40));
        assert_eq!(ewma.micros(u64::MAX), Some(f64::from(u32::MAX)));
        ewma.observe(5, Duration::ZERO);
        assert!(ewma.micros(5).is_some());
    }
}
