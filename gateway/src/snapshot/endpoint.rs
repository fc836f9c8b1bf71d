//! What is known of an endpoint while the gateway runs; it outlives a reload.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_config::model::Ejection;
use prometheus::Gauge;
use rustls::ClientConfig;

use super::{peak_ewma::PeakEwma, upstream_sessions::EndpointTls};

/// Times an ejection is doubled at most, as a factor.
const MAX_FACTOR: u32 = 10;

/// Part of its share that an endpoint gets at first.
const FIRST_PART: f64 = 0.1;

/// The state of one endpoint of one backend.
#[derive(Debug)]
pub struct EndpointState {
    /// Where it is.
    pub address: SocketAddr,
    in_flight: AtomicU32,
    /// Attempts ever made at it.
    attempts: AtomicU64,
    /// Failures in a row.
    failures: AtomicU32,
    /// Ejections since the last success.
    ejections: AtomicU32,
    /// Milliseconds since [`Self::start`]; 0 when it is not left out.
    ejected_until: AtomicU64,
    /// What the health check says.
    unhealthy: AtomicBool,
    /// Its backend does not have it any more.
    gone: AtomicBool,
    /// Milliseconds since [`Self::start`] at which it was taken in, or back.
    taken_in: AtomicU64,
    latency: PeakEwma,
    tls: EndpointTls,
    start: Instant,
    /// Its metric, once a snapshot with it serves.
    up: OnceLock<Gauge>,
}

/// A request that an endpoint is working on, until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl InFlight {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EndpointState {
    /// Makes the state of an endpoint that nothing is known of.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            attempts: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            unhealthy: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            taken_in: AtomicU64::new(0),
            latency: PeakEwma::default(),
            tls: EndpointTls::default(),
            start: Instant::now(),
            up: OnceLock::new(),
        }
    }

    /// Tells of it by a metric from now on.
    pub fn announce(&self, up: impl FnOnce() -> Gauge) {
        if self.up.get().is_none() {
            // Two that announce it at once have the same series.
            let _ = self.up.set(up());
            self.tell();
        }
    }

    /// Notes that a request goes to it.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.attempts.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Requests that it is working on.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Attempts ever made at it.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// How long an answer takes, in microseconds; `None` before the first.
    pub(super) fn latency(&self) -> Option<f64> {
        self.latency.micros(self.now())
    }

    /// Notes how long an answer took, or that there was none for so long.
    pub fn took(&self, time: Duration) {
        self.latency.observe(self.now(), time);
    }

    /// The part of its share that it gets, from a tenth to 1 in `slow_start`.
    pub(super) fn part(&self, slow_start: Duration) -> f64 {
        let since = self
            .now()
            .saturating_sub(self.taken_in.load(Ordering::Relaxed));
        (since as f64 / slow_start.as_millis() as f64).max(FIRST_PART)
    }

    /// TLS settings of its connections: those of its backend, with sessions of its own,
    /// which stay as long as `identity` does.
    pub(crate) fn tls(&self, identity: u64, settings: &ClientConfig) -> Arc<ClientConfig> {
        self.tls.config(identity, settings, Instant::now())
    }

    /// Notes that its backend has it.
    pub(super) fn join(&self) {
        self.gone.store(false, Ordering::Relaxed);
    }

    /// Notes that its backend does not have it any more.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Whether its backend does not have it any more; requests that it works on end.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether it takes requests.
    pub fn is_up(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed) && !self.is_ejected()
    }

    /// Whether it is left out for its failures.
    pub fn is_ejected(&self) -> bool {
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => false,
            until if self.now() < until => true,
            until => {
                // Its time is over; one more failure and it goes again.
                let ended = self.ejected_until.compare_exchange(
                    until,
                    0,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if ended.is_ok() {
                    self.take_in();
                    self.tell();
                }
                ended.is_err()
            }
        }
    }

    /// Notes that it answered.
    pub fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failure; tells for how long the endpoint is left out now, where
    /// `may_eject` allows one more.
    pub fn failed(
        &self,
        settings: &Ejection,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if settings.failures == 0
            || failures < settings.failures
            || self.is_ejected()
            || !may_eject()
        {
            return None;
        }
        let again = self.ejections.fetch_add(1, Ordering::Relaxed).min(4);
        let time = settings.time * (1 << again).min(MAX_FACTOR);
        let until = self.now() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        self.ejected_until.store(until.max(1), Ordering::Relaxed);
        self.tell();
        Some(time)
    }

    /// Notes what a health check found; tells whether that is news.
    pub fn checked(&self, healthy: bool) -> bool {
        let news = self.unhealthy.swap(!healthy, Ordering::Relaxed) == healthy;
        if news {
            if healthy {
                // It is another one, as it were: what the old one did does not count.
                self.ejected_until.store(0, Ordering::Relaxed);
                self.answered();
                self.take_in();
            }
            self.tell();
        }
        news
    }

    fn take_in(&self) {
        self.taken_in.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn tell(&self) {
        let up = !self.unhealthy.load(Ordering::Relaxed)
            && self.ejected_until.load(Ordering::Relaxed) == 0;
        if let Some(gauge) = self.up.get() {
            gauge.set(f64::from(u8::from(up)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Arc<EndpointState> {
        Arc::new(EndpointState::new(SocketAddr::from(([127, 0, 0, 1], 80))))
    }

    fn ejection(failures: u32, millis: u64) -> Ejection {
        Ejection {
            failures,
            time: Duration::from_millis(millis),
            max_ejected: 100,
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_an_answer_forgives() {
        let (state, settings) = (state(), ejection(3, 60_000));
        for _ in 0..5 {
            assert_eq!(state.failed(&settings, || true), None);
            assert_eq!(state.failed(&settings, || true), None);
            state.answered();
        }
        assert!(state.is_up());
        for _ in 0..2 {
            assert_eq!(state.failed(&settings, || true), None);
        }
        assert_eq!(state.failed(&settings, || false), None);
        assert!(state.is_up());
        assert_eq!(state.failed(&settings, || true), Some(settings.time));
        assert!(!state.is_up());
        assert_eq!(state.failed(&ejection(0, 1), || true), None);
    }

    #[test]
    fn an_ejection_ends_and_the_next_is_longer_up_to_a_bound() {
        let (state, settings) = (state(), ejection(1, 1));
        let mut times = Vec::new();
        for _ in 0..8 {
            let time = state.failed(&settings, || true).expect("left out");
            times.push(time.as_millis());
            std::thread::sleep(time + Duration::from_millis(2));
            assert!(state.is_up());
        }
        assert_eq!(times, [1, 2, 4, 8, 10, 10, 10, 10]);
    }

    #[test]
    fn a_check_takes_an_endpoint_out_and_back() {
        let state = state();
        assert!(!state.checked(true));
        assert!(state.checked(false));
        assert!(!state.checked(false));
        assert!(!state.is_up());
        assert!(state.checked(true));
        assert!(state.is_up());
    }

    #[test]
    fn one_that_is_well_again_is_not_left_out_for_what_was_before() {
        let state = state();
        state.checked(false);
        assert!(state.failed(&ejection(1, 60_000), || true).is_some());
        state.checked(true);
        assert!(state.is_up());
    }

    #[test]
    fn the_part_of_an_endpoint_grows_from_when_it_is_taken_in() {
        let state = state();
        let slow_start = Duration::from_millis(200);
        assert_eq!(state.part(slow_start), FIRST_PART);
        std::thread::sleep(Duration::from_millis(100));
        assert!(state.part(slow_start) >= 0.5);
        std::thread::sleep(Duration::from_millis(100));
        assert!(state.part(slow_start) >= 1.0);
        state.checked(false);
        state.checked(true);
        assert!(state.part(slow_start) < 0.5);
    }

    #[test]
    fn requests_in_flight_are_counted_until_they_end() {
        let state = state();
        let (one, two) = (state.begin(), state.begin());
        assert_eq!(state.in_flight(), 2);
        drop(one);
        drop(two);
        assert_eq!(state.in_flight(), 0);
    }
}
