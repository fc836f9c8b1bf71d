//! The series of one backend, made when it is first asked: of thousands many never are.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

/// The metrics of one backend. Clones are the same.
#[derive(Clone)]
pub struct BackendMetrics {
    backend: Arc<str>,
    families: Arc<Families>,
    series: Arc<OnceLock<Series>>,
}

impl fmt::Debug for BackendMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendMetrics")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// What the series of all backends are in.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) requests: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) look_ups: IntCounterVec,
    pub(super) seconds: HistogramVec,
    pub(super) pending: IntGaugeVec,
    pub(super) connections: IntGaugeVec,
}

struct Series {
    answered: IntCounter,
    failed: IntCounter,
    connect_failed: IntCounter,
    retried: IntCounter,
    over_budget: IntCounter,
    names_answered: IntCounter,
    names_failed: IntCounter,
    seconds: Histogram,
    pending: IntGauge,
    connections: IntGauge,
}

impl BackendMetrics {
    pub(super) fn new(backend: &str, families: &Arc<Families>) -> Self {
        Self {
            backend: backend.into(),
            families: Arc::clone(families),
            series: Arc::default(),
        }
    }

    /// Requests that wait.
    pub fn pending(&self) -> &IntGauge {
        &self.series().pending
    }

    /// Open connections.
    pub fn connections(&self) -> &IntGauge {
        &self.series().connections
    }

    /// Counts the end of a request, and the wait for the response head where one came.
    pub fn finished(&self, waited: Option<Duration>) {
        let series = self.series();
        match waited {
            Some(waited) => {
                series.answered.inc();
                series.seconds.observe(waited.as_secs_f64());
            }
            None => series.failed.inc(),
        }
    }

    /// Counts a request that is to be tried again, and whether its budget allows it.
    pub fn retry(&self, allowed: bool) {
        let series = self.series();
        match allowed {
            true => series.retried.inc(),
            false => series.over_budget.inc(),
        }
    }

    /// Counts a look-up of the name of an endpoint.
    pub fn looked_up(&self, answered: bool) {
        let series = self.series();
        match answered {
            true => series.names_answered.inc(),
            false => series.names_failed.inc(),
        }
    }

    /// Counts an attempt that failed before the backend was asked.
    pub fn connect_failed(&self) {
        self.series().connect_failed.inc();
    }

    fn series(&self) -> &Series {
        self.series
            .get_or_init(|| Series::of(&self.backend, &self.families))
    }

    /// Forgets its series, for good: what still counts then counts for nobody.
    pub(super) fn forget(&self) {
        if self.series.set(Series::of_nobody()).is_ok() {
            return;
        }
        let families = &self.families;
        let backend = &*self.backend;
        // They were made, so they are there.
        let _ = families.seconds.remove_label_values(&[backend]);
        let _ = families.pending.remove_label_values(&[backend]);
        let _ = families.connections.remove_label_values(&[backend]);
        for (counters, outcomes) in [
            (
                &families.requests,
                &["answered", "failed", "connect_failed"][..],
            ),
            (&families.retries, &["sent", "over_budget"]),
            (&families.look_ups, &["answered", "failed"]),
        ] {
            for outcome in outcomes {
                let _ = counters.remove_label_values(&[backend, outcome]);
            }
        }
    }
}

impl Series {
    fn of(backend: &str, families: &Families) -> Self {
        let requests = |outcome| families.requests.with_label_values(&[backend, outcome]);
        let retries = |outcome| families.retries.with_label_values(&[backend, outcome]);
        let look_ups = |outcome| families.look_ups.with_label_values(&[backend, outcome]);
        Self {
            answered: requests("answered"),
            failed: requests("failed"),
            connect_failed: requests("connect_failed"),
            retried: retries("sent"),
            over_budget: retries("over_budget"),
            names_answered: look_ups("answered"),
            names_failed: look_ups("failed"),
            seconds: families.seconds.with_label_values(&[backend]),
            pending: families.pending.with_label_values(&[backend]),
            connections: families.connections.with_label_values(&[backend]),
        }
    }

    /// Series that nobody reads.
    fn of_nobody() -> Self {
        let counter = || IntCounter::new("nobody", "nobody").expect("a valid name");
        let gauge = || IntGauge::new("nobody", "nobody").expect("a valid name");
        let seconds = HistogramOpts::new("nobody", "nobody").buckets(vec![1.0]);
        Self {
            answered: counter(),
            failed: counter(),
            connect_failed: counter(),
            retried: counter(),
            over_budget: counter(),
            names_answered: counter(),
            names_failed: counter(),
            seconds: Histogram::with_opts(seconds).expect("a valid name"),
            pending: gauge(),
            connections: gauge(),
        }
    }
}
