//! The series of one rule, each made when there is something to count: of ten thousand rules
//! few are ever asked with every method, and none answers with every status.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::Method;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

/// Methods with a label of their own; any other is `OTHER`.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "OTHER",
];

/// Status classes; `none` is a request that got no answer.
const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The metrics of one rule.
#[derive(Debug)]
pub struct RuleMetrics {
    rule: String,
    requests: IntCounterVec,
    seconds: HistogramVec,
    made: Mutex<Made>,
}

/// The series that there are.
#[derive(Debug, Default)]
struct Made {
    seconds: Option<Histogram>,
    /// By listener, the counters of each method and status.
    listeners: Vec<(String, Counters)>,
    /// Whether the rule is gone: then nothing is counted any more, or the series would stay.
    is_gone: bool,
}

/// The counters of each status, by method.
type Counters = Box<[[Option<IntCounter>; STATUSES.len()]; METHODS.len()]>;

impl RuleMetrics {
    pub(super) fn new(rule: &str, requests: &IntCounterVec, seconds: &HistogramVec) -> Self {
        Self {
            rule: rule.to_owned(),
            requests: requests.clone(),
            seconds: seconds.clone(),
            made: Mutex::default(),
        }
    }

    /// Counts a request and the time it took.
    pub fn observe(&self, listener: &str, method: &Method, status: u16, duration: Duration) {
        let method = METHODS
            .iter()
            .position(|known| *known == method.as_str())
            .unwrap_or(METHODS.len() - 1);
        let status = usize::from(status / 100).min(STATUSES.len() - 1);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_gone {
            return;
        }
        let seconds = || self.seconds.with_label_values(&[&self.rule]);
        made.seconds
            .get_or_insert_with(seconds)
            .observe(duration.as_secs_f64());
        let listeners = &mut made.listeners;
        let at = listeners.iter().position(|(known, _)| known == listener);
        let at = at.unwrap_or_else(|| {
            listeners.push((listener.to_owned(), Box::default()));
            listeners.len() - 1
        });
        let counter = || {
            let values = [listener, &self.rule, METHODS[method], STATUSES[status]];
            self.requests.with_label_values(&values)
        };
        listeners[at].1[method][status]
            .get_or_insert_with(counter)
            .inc();
    }

    /// Forgets the series of listeners that are gone.
    pub(super) fn keep_listeners(&self, kept: impl Fn(&str) -> bool) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.listeners.retain(|(listener, counters)| {
            let is_kept = kept(listener);
            if !is_kept {
                self.forget_listener(listener, counters);
            }
            is_kept
        });
    }

    /// Forgets all series, for good.
    pub(super) fn forget(&self) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.is_gone = true;
        if made.seconds.take().is_some() {
            let _ = self.seconds.remove_label_values(&[&self.rule]);
        }
        for (listener, counters) in made.listeners.drain(..) {
            self.forget_listener(&listener, &counters);
        }
    }

    fn forget_listener(&self, listener: &str, counters: &Counters) {
        for (method, counters) in METHODS.iter().zip(counters.iter()) {
            for (status, counter) in STATUSES.iter().zip(counters) {
                if counter.is_some() {
                    let values = [listener, &self.rule, *method, *status];
                    // It was made, so it is there.
                    let _ = self.requests.remove_label_values(&values);
                }
            }
        }
    }
}
