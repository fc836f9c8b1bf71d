//! Rounds: each peer in turn, alone, with the same traffic.
//!
//! In: the settings. Out: one [`Sample`] for each peer, round and scenario.
//! A peer is started anew for each sample, so that no luck of one process
//! (memory layout, hash seeds) lasts through all rounds, and is stopped before
//! the next one starts. The upstream stays. Where the backend speaks TLS, a peer is
//! measured in the same round in front of the same backend in clear.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use serde::Serialize;

use crate::{bench::Bench, peers::Peer, scenario::Scenario, stats::rotated};

/// Load before each measurement, for connection pools, caches and allocators.
pub const WARM_UP: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rounds for each scenario.
    pub rounds: usize,
    /// Length of one measurement, in whole seconds.
    pub duration: Duration,
    /// The traffic.
    pub scenarios: Vec<Scenario>,
    /// The peers, in the order of the first round.
    pub peers: Vec<Peer>,
}

/// What one measurement of one peer gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// CPU time of the peer, user and system, in microseconds for each request.
    pub cpu_us_per_request: f64,
    /// Requests answered in a second.
    pub requests_per_second: f64,
    /// Requests answered.
    pub requests: u64,
    /// CPU time by wall-clock time: 1 is one processor, all the time.
    pub busy: f64,
    /// Part of the new connections to a backend over TLS that took up a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<f64>,
}

/// The samples of one scenario: `samples[i][round]` belongs to the i-th peer of
/// the settings.
#[derive(Clone, Debug)]
pub struct ScenarioSamples {
    /// The traffic.
    pub scenario: Scenario,
    /// Samples by peer, then by round.
    pub samples: Vec<Vec<Sample>>,
    /// Those of the same backend in clear; empty where the scenario has none over TLS.
    pub plain: Vec<Vec<Sample>>,
}

impl Bench {
    /// Runs all rounds of one scenario; tells progress on standard error.
    ///
    /// # Errors
    ///
    /// When a peer does not start, fails a request, or ends.
    pub async fn compare(
        &self,
        settings: &Settings,
        scenario: Scenario,
    ) -> anyhow::Result<ScenarioSamples> {
        let peers = settings.peers.len();
        let mut samples = vec![Vec::with_capacity(settings.rounds); peers];
        let backend = self.backend_of(scenario)?;
        let mut plain = vec![Vec::with_capacity(settings.rounds); backend.map_or(0, |_| peers)];
        let order: Vec<usize> = (0..peers).collect();
        for round in 0..settings.rounds {
            for index in rotated(&order, round) {
                let peer = settings.peers[index];
                let tell = |sample: &Sample, over: &str| {
                    eprintln!(
                        "{} {}/{}: {:12} {:7.2} us/request {:8.0} requests/s {:4.2} busy{over}",
                        scenario.word(),
                        round + 1,
                        settings.rounds,
                        peer.name(),
                        sample.cpu_us_per_request,
                        sample.requests_per_second,
                        sample.busy
                    );
                };
                let place = || format!("{}, {}", peer.name(), scenario.title());
                let sample = self.measure(peer, scenario, settings.duration).await;
                let sample = sample.with_context(place)?;
                tell(&sample, "");
                samples[index].push(sample);
                if let Some((backend, connect)) = backend {
                    let upstream = backend.plain(connect);
                    let sample = self
                        .measure_at(peer, scenario, upstream, settings.duration)
                        .await
                        .with_context(|| format!("{}, backend in clear", place()))?;
                    tell(&sample, ", backend in clear");
                    plain[index].push(sample);
                }
            }
        }
        Ok(ScenarioSamples {
            scenario,
            samples,
            plain,
        })
    }
}

/// Checks that a file can be created, before minutes of measuring.
///
/// # Errors
///
/// When it cannot.
pub fn check_writable(file: &Path) -> anyhow::Result<()> {
    let mut open = fs::OpenOptions::new();
    open.create(true)
        .append(true)
        .open(file)
        .map(drop)
        .with_context(|| format!("the results cannot be written to {file:?}"))
}
