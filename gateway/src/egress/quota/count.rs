//! What one client has used of one quota. Time is given, so that it can be any.

use std::time::{Duration, Instant};

use portcullis_config::egress::EgressQuota;

/// When to come again for a place: nobody knows when a connection ends.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Why a quota refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Stable reason code.
    pub reason: &'static str,
    /// After which time it may be tried again.
    pub retry_after: Duration,
}

impl Spent {
    pub(super) fn new(reason: &'static str, retry_after: Duration) -> Self {
        Self {
            reason,
            retry_after,
        }
    }
}

/// What a client has used.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Tunnels and plain requests that are open.
    open: u32,
    /// When the window began, how long it is, and the bytes that were sent in it.
    window: Option<(Instant, Duration)>,
    bytes: u64,
    /// When a client that kept to the rate would come next: a cell rate algorithm, counted here
    /// and not by a library because it is taken together with the rest or not at all.
    next: Option<Instant>,
}

impl Count {
    /// Why nothing more may be opened, if so. What is open already may have sent the last byte,
    /// and is not held to the rate.
    pub(super) fn spent(
        &mut self,
        quota: &EgressQuota,
        is_new: bool,
        now: Instant,
    ) -> Option<Spent> {
        let left = self.turn(quota, now);
        if is_new && quota.bytes_out.is_some_and(|most| self.bytes >= most) {
            return Some(Spent::new("quota_bytes_out", left));
        }
        if let Some(spent) = self.exceeded(quota, now) {
            return Some(spent);
        }
        if quota.connections.is_some_and(|most| self.open >= most) {
            return Some(Spent::new("quota_connections", A_MOMENT));
        }
        let rate = quota.rate.filter(|_| is_new)?;
        let spacing = rate.per / rate.count.max(1);
        let ahead = self.next?.saturating_duration_since(now);
        // As many as the count may come at once.
        let wait = (ahead + spacing).saturating_sub(rate.per);
        (!wait.is_zero()).then(|| Spent::new("quota_rate", wait))
    }

    /// Counts what is opened.
    pub(super) fn open(&mut self, quota: &EgressQuota, is_new: bool, now: Instant) {
        self.turn(quota, now);
        self.open = self.open.saturating_add(1);
        if let Some(rate) = quota.rate.filter(|_| is_new) {
            let from = self.next.map_or(now, |next| next.max(now));
            // Only told, it goes no further than a rate that is kept.
            self.next = Some((from + rate.per / rate.count.max(1)).min(now + rate.per));
        }
    }

    /// Counts what is closed.
    pub(super) fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Counts bytes that are to be sent, and tells whether they may be. What does not fit is
    /// counted too: a client may not go on with smaller pieces.
    pub(super) fn send(&mut self, quota: &EgressQuota, bytes: u64, now: Instant) -> bool {
        self.turn(quota, now);
        self.bytes = self.bytes.saturating_add(bytes);
        self.exceeded(quota, now).is_none()
    }

    /// What is spent where more was to be sent than may be.
    pub(super) fn exceeded(&mut self, quota: &EgressQuota, now: Instant) -> Option<Spent> {
        let left = self.turn(quota, now);
        let is_over = quota.bytes_out.is_some_and(|most| self.bytes > most);
        is_over.then(|| Spent::new("quota_bytes_out", left))
    }

    /// Whether nothing of it matters any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let is_past = |(began, length): (Instant, Duration)| now.duration_since(began) >= length;
        self.open == 0
            // A window in which nothing was sent may as well begin later.
            && (self.bytes == 0 || self.window.is_none_or(is_past))
            && self.next.is_none_or(|next| next <= now)
    }

    /// Begins another window where one is over, and tells what is left of it.
    fn turn(&mut self, quota: &EgressQuota, now: Instant) -> Duration {
        if quota.bytes_out.is_none() {
            self.window = None;
            return Duration::ZERO;
        }
        let began = match self.window {
            Some((began, _)) if now.duration_since(began) < quota.window => began,
            _ => {
                self.bytes = 0;
                now
            }
        };
        self.window = Some((began, quota.window));
        quota.window.saturating_sub(now.duration_since(began))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::document::Rate;

    use super::*;

    const NOTHING: EgressQuota = EgressQuota {
        bytes_out: None,
        window: EgressQuota::DEFAULT_WINDOW,
        connections: None,
        rate: None,
    };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn bytes_come_back_with_the_next_window_and_not_before() {
        let quota = EgressQuota {
            bytes_out: Some(100),
            window: seconds(60),
            ..NOTHING
        };
        let (mut count, began) = (Count::default(), Instant::now());
        assert_eq!(count.spent(&quota, true, began), None);
        count.open(&quota, true, began);
        assert!(count.send(&quota, 60, began + seconds(10)));
        assert!(
            count.send(&quota, 40, began + seconds(20)),
            "to the last byte"
        );
        assert!(count.exceeded(&quota, began + seconds(20)).is_none());
        let spent = Spent {
            reason: "quota_bytes_out",
            retry_after: seconds(30),
        };
        assert_eq!(count.spent(&quota, true, began + seconds(30)), Some(spent));
        assert!(!count.send(&quota, 1, began + seconds(59)));
        assert!(count.exceeded(&quota, began + seconds(59)).is_some());
        // The same tunnel may go on in the next one.
        assert!(count.send(&quota, 100, began + seconds(60)));
        assert!(!count.send(&quota, 1, began + seconds(119)));
        count.close();
        assert!(!count.is_over(began + seconds(119)), "it still counts");
        assert!(count.is_over(began + seconds(120)));
    }

    #[test]
    fn what_does_not_fit_is_used_up() {
        let quota = EgressQuota {
            bytes_out: Some(100),
            ..NOTHING
        };
        let (mut count, now) = (Count::default(), Instant::now());
        assert!(!count.send(&quota, 101, now));
        assert!(!count.send(&quota, 1, now), "not in smaller pieces either");
        assert!(!count.send(&quota, u64::MAX, now), "and no overflow");
        assert!(count.spent(&quota, true, now).is_some());
    }

    #[test]
    fn connections_count_while_they_are_open() {
        let quota = EgressQuota {
            connections: Some(2),
            ..NOTHING
        };
        let (mut count, now) = (Count::default(), Instant::now());
        for _ in 0..2 {
            assert_eq!(count.spent(&quota, true, now), None);
            count.open(&quota, true, now);
        }
        assert!(!count.is_over(now + seconds(1 << 20)));
        let spent = count.spent(&quota, true, now).expect("two are open");
        assert_eq!(spent.reason, "quota_connections");
        count.close();
        assert_eq!(count.spent(&quota, true, now), None);
        count.close();
        assert!(count.is_over(now));
    }

    #[test]
    fn a_rate_lets_its_count_come_at_once_and_then_one_by_one() {
        let per = seconds(60);
        let quota = EgressQuota {
            rate: Some(Rate { count: 3, per }),
            ..NOTHING
        };
        let (mut count, now) = (Count::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(count.spent(&quota, true, now), None);
            count.open(&quota, true, now);
        }
        let spent = Spent {
            reason: "quota_rate",
            retry_after: seconds(20),
        };
        assert_eq!(count.spent(&quota, true, now), Some(spent));
        assert_eq!(count.spent(&quota, false, now), None, "it is open already");
        // What is only told makes nobody wait for longer than the unit of time.
        count.open(&quota, true, now);
        count.open(&quota, true, now);
        assert_eq!(count.spent(&quota, true, now), Some(spent));
        assert_eq!(count.spent(&quota, true, now + seconds(20)), None);
    }
}
