//! How slow a request body may come.

use std::time::Duration;

use portcullis_config::model::MinBodyRate;

/// What is left of a client's grace.
///
/// The time that it is waited for uses it up, and what it sends gives it back. So a
/// body may pause, and cannot trickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyPace {
    limit: MinBodyRate,
    left: Duration,
}

impl BodyPace {
    /// Begins a body; `None` where it may come as slowly as it likes.
    pub(crate) fn new(limit: MinBodyRate) -> Option<Self> {
        (limit.rate > 0).then_some(Self {
            left: limit.grace,
            limit,
        })
    }

    /// How long the client may be waited for.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// Notes for how long it was waited for.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// Notes what came.
    pub(crate) fn came(&mut self, bytes: usize) {
        let earned = Duration::from_secs_f64(bytes as f64 / self.limit.rate as f64);
        self.left = self.left.saturating_add(earned).min(self.limit.grace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Option<BodyPace> {
        BodyPace::new(MinBodyRate {
            rate,
            grace: Duration::from_secs(10),
        })
    }

    #[test]
    fn a_body_may_pause_and_not_trickle() {
        assert!(pace(0).is_none());
        let mut paused = pace(100).expect("a limit");
        for _ in 0..100 {
            paused.waited(Duration::from_secs(9));
            assert!(!paused.left().is_zero());
            paused.came(900);
        }
        assert_eq!(paused.left(), Duration::from_secs(10));
        // No credit beyond the grace, however much came before.
        paused.came(1 << 40);
        assert_eq!(paused.left(), Duration::from_secs(10));
        let mut trickles = pace(100).expect("a limit");
        let mut waited = 0;
        loop {
            trickles.waited(Duration::from_secs(1));
            waited += 1;
            if trickles.left().is_zero() {
                break;
            }
            trickles.came(1);
        }
        assert_eq!(waited, 11);
    }
}
