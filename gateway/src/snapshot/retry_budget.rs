//! How many requests of a backend may be tried again.
//!
//! A bucket that requests fill and retries empty. What is in it runs out in
//! [`WINDOW`], so it holds what the last such time has earned. It is looked at only
//! when a request is to be tried again; others pay nothing for it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use portcullis_config::model;

/// The time whose requests earn retries.
const WINDOW: Duration = Duration::from_secs(10);

/// The budget of one backend; it outlives a reload.
#[derive(Debug, Default)]
pub struct RetryBudget {
    bucket: Mutex<Option<Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    at: Instant,
    /// Attempts that were known of by then.
    attempts: u64,
    /// Retries since, which are attempts and earn nothing.
    retries: u64,
    tokens: f64,
}

impl RetryBudget {
    /// Takes one retry out of it; `attempts` is the number of attempts ever made at
    /// the backend.
    pub(super) fn take(&self, settings: &model::RetryBudget, attempts: u64, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let mut full = match *bucket {
            Some(bucket) => bucket.refilled(settings, attempts, now),
            None => Bucket::new(settings, attempts, now),
        };
        let granted = full.tokens >= 1.0;
        if granted {
            full.tokens -= 1.0;
            full.retries += 1;
        }
        *bucket = Some(full);
        granted
    }
}

impl Bucket {
    /// As if its requests were those of the last window.
    fn new(settings: &model::RetryBudget, attempts: u64, now: Instant) -> Self {
        let nothing = Self {
            at: now,
            attempts,
            retries: 0,
            tokens: 0.0,
        };
        Self {
            tokens: nothing.earned(settings, attempts, WINDOW),
            ..nothing
        }
    }

    fn refilled(self, settings: &model::RetryBudget, attempts: u64, now: Instant) -> Self {
        let elapsed = now.saturating_duration_since(self.at);
        let left = 1.0 - (elapsed.as_secs_f64() / WINDOW.as_secs_f64()).min(1.0);
        let requests = attempts
            .saturating_sub(self.attempts)
            .saturating_sub(self.retries);
        Self {
            at: now,
            attempts,
            retries: 0,
            tokens: self.tokens * left + self.earned(settings, requests, elapsed),
        }
    }

    fn earned(&self, settings: &model::RetryBudget, requests: u64, elapsed: Duration) -> f64 {
        let window = WINDOW.as_secs_f64();
        // Of a longer time only the last window counts.
        let share = (window / elapsed.as_secs_f64().max(window)).min(1.0);
        requests as f64 * share * f64::from(settings.percent) / 100.0
            + elapsed.as_secs_f64().min(window) * f64::from(settings.min_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(percent: u32, min_per_second: u32) -> model::RetryBudget {
        model::RetryBudget {
            percent,
            min_per_second,
        }
    }

    /// Retries that are granted where every request wants one.
    fn outage(settings: &model::RetryBudget, per_second: u64, seconds: u64) -> u64 {
        let (budget, start) = (RetryBudget::default(), Instant::now());
        let (mut attempts, mut granted) = (0, 0);
        for request in 0..per_second * seconds {
            attempts += 1;
            let now = start + Duration::from_micros(request * 1_000_000 / per_second);
            if budget.take(settings, attempts, now) {
                attempts += 1;
                granted += 1;
            }
        }
        granted
    }

    #[test]
    fn an_outage_gets_its_share_and_no_more() {
        let granted = outage(&settings(20, 0), 1000, 60);
        assert!((11_000..13_000).contains(&granted), "{granted}");
    }

    #[test]
    fn few_requests_get_the_minimum() {
        assert_eq!(outage(&settings(0, 10), 5, 60), 300);
        let granted = outage(&settings(0, 10), 1000, 60);
        // Ten seconds' worth is there at the beginning.
        assert!((600..=700).contains(&granted), "{granted}");
    }

    #[test]
    fn nothing_is_granted_without_a_budget() {
        assert_eq!(outage(&settings(0, 0), 100, 10), 0);
    }

    #[test]
    fn a_quiet_day_earns_no_more_than_its_last_window() {
        let (budget, start) = (RetryBudget::default(), Instant::now());
        assert!(!budget.take(&settings(20, 0), 0, start));
        let later = start + Duration::from_secs(86_400);
        let granted = (0..)
            .take_while(|_| budget.take(&settings(20, 0), 864_000, later))
            .count();
        // Ten in a second: a hundred in the window, and a fifth of those.
        assert_eq!(granted, 20);
    }
}
