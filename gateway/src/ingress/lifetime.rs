//! How long a connection of a client is used.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use portcullis_config::model::ListenerLimits;
use tokio::sync::watch;

/// The limits of one connection, and how much of them is used.
pub(super) struct Lifetime {
    /// When its age is reached; `None` is never.
    until: Option<Instant>,
    /// Requests that it may have; 0 is no limit.
    max_requests: u32,
    requests: AtomicU32,
    /// Tells an HTTP/2 connection to end: streams that are open go on, and the client
    /// is told to open no more (GOAWAY). `None` on a connection that speaks HTTP/1.
    end: Option<watch::Sender<bool>>,
}

impl Lifetime {
    /// Begins a connection now; `end` is told when it is over.
    pub(super) fn new(limits: &ListenerLimits, end: Option<watch::Sender<bool>>) -> Self {
        let age = limits.max_connection_age;
        Self {
            until: (!age.is_zero())
                .then(|| Instant::now().checked_add(spread(age)))
                .flatten(),
            max_requests: limits.max_requests_per_connection,
            requests: AtomicU32::new(0),
            end,
        }
    }

    /// Counts a request that came `now`; tells whether it is the last.
    pub(super) fn ends_with_request(&self, now: Instant) -> bool {
        let requests = match self.max_requests {
            0 => 0,
            _ => self.requests.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let over = self.until.is_some_and(|until| now >= until)
            || (requests > 0 && requests >= self.max_requests);
        if over {
            self.end();
        }
        over
    }

    /// Ends an HTTP/2 connection, when its streams have ended.
    fn end(&self) {
        if let Some(end) = &self.end {
            end.send_replace(true);
        }
    }

    /// Ends an HTTP/2 connection when its listener drains; to be called on a runtime.
    pub(super) fn end_with(&self, mut drain: watch::Receiver<bool>) {
        let Some(end) = self.end.clone() else {
            return;
        };
        tokio::spawn(async move {
            tokio::select! {
                // An error means that the listener is gone.
                _ = drain.wait_for(|drain| *drain) => {
                    end.send_replace(true);
                }
                // So is the connection.
                () = end.closed() => {}
            }
        });
    }
}

/// The age that one connection may reach: nine tenths and more, by chance. Clients
/// that came together must not all come back together.
fn spread(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.1 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(age: u64, max_requests: u32) -> Lifetime {
        let limits = ListenerLimits {
            max_connection_age: Duration::from_secs(age),
            max_requests_per_connection: max_requests,
            ..ListenerLimits::default()
        };
        Lifetime::new(&limits, None)
    }

    #[test]
    fn a_connection_ends_by_age_and_by_requests_and_not_without_a_limit() {
        let now = Instant::now();
        let after = |lifetime: &Lifetime, seconds| {
            lifetime.ends_with_request(now + Duration::from_secs(seconds))
        };
        let endless = lifetime(0, 0);
        assert!(!(0..1000).any(|n| after(&endless, n * 1000)));
        let counted = lifetime(0, 3);
        assert_eq!(
            [(); 4].map(|()| after(&counted, 0)),
            [false, false, true, true]
        );
        assert!(after(&lifetime(0, 1), 0));
        let aged = lifetime(100, 0);
        assert_eq!(
            [89, 101].map(|seconds| after(&aged, seconds)),
            [false, true]
        );
    }

    #[test]
    fn ages_are_spread() {
        let ages: Vec<_> = (0..50).map(|_| spread(Duration::from_secs(100))).collect();
        for age in &ages {
            assert!((90.0..=100.0).contains(&age.as_secs_f64()), "{age:?}");
        }
        assert!(ages.iter().any(|age| *age != ages[0]), "{ages:?}");
    }
}
