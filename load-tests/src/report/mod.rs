//! What a comparison found, as tables to read and JSON to keep.
//!
//! In: samples. Out: a [`Report`], which prints as Markdown and serialises as
//! JSON with every sample in it. No number is left out for being odd.

mod tables;

use serde::Serialize;

use crate::{
    compare::{Sample, ScenarioSamples, Settings, WARM_UP},
    machine::Machine,
    peers::Peer,
    scenario::{Connections, Scenario},
    stats::Spread,
};

/// The ratios told: CPU time per request of the first in parts of the second.
const RATIOS: [(Peer, Peer); 4] = [
    (Peer::Portcullis, Peer::BarePingora),
    (Peer::Portcullis, Peer::Nginx),
    (Peer::Portcullis, Peer::Haproxy),
    (Peer::BarePingora, Peer::Nginx),
];

/// The bar for a ratio, where there is one. Beside nginx it is an aim but for
/// handshakes, which are nearly all cryptography.
fn target(scenario: Scenario, of: Peer, to: Peer) -> Option<f64> {
    match (of, to) {
        (Peer::Portcullis, Peer::BarePingora) => Some(1.1),
        (Peer::Portcullis, Peer::Nginx) if scenario == Scenario::Handshake => Some(1.0),
        (Peer::Portcullis, Peer::Nginx) => Some(1.5),
        _ => None,
    }
}

/// A whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When it was made, RFC 3339.
    pub recorded_at: String,
    /// On which machine.
    pub machine: Machine,
    /// Whether the programs were built with optimisation.
    pub optimised: bool,
    /// Rounds for each scenario.
    pub rounds: usize,
    /// Seconds of one measurement.
    pub seconds: u64,
    /// Seconds of load before each measurement.
    pub warm_up_seconds: u64,
    /// The results.
    pub scenarios: Vec<ScenarioReport>,
}

/// The results of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// The traffic.
    pub scenario: Scenario,
    /// The connections of the driver.
    pub connections: Connections,
    /// The numbers of each peer.
    pub peers: Vec<PeerReport>,
    /// Peers against peers.
    pub ratios: Vec<RatioReport>,
    /// Functions with most samples, where a profile was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<String>,
}

/// The numbers of one peer in one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct PeerReport {
    /// Who.
    pub peer: Peer,
    /// Which version.
    pub version: String,
    /// CPU time for each request, in microseconds.
    pub cpu_us_per_request: Spread,
    /// Requests in a second.
    pub requests_per_second: Spread,
    /// CPU time by wall-clock time. Well below 1, the peer was waiting, for the
    /// driver, the upstream or the machine, and its rate is theirs.
    pub busy: Spread,
    /// Part of the connections to the backend that took up a TLS session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Spread>,
    /// One for each round.
    pub samples: Vec<Sample>,
    /// The same in front of the same backend in clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain: Option<PlainReport>,
}

/// The numbers of one peer in front of a backend in clear, where the scenario has TLS.
#[derive(Clone, Debug, Serialize)]
pub struct PlainReport {
    /// CPU time for each request, in microseconds.
    pub cpu_us_per_request: Spread,
    /// CPU time with TLS in parts of that in clear: what TLS towards the backend costs.
    pub tls_to_plain: Spread,
    /// One for each round.
    pub samples: Vec<Sample>,
}

/// CPU time per request of one peer in parts of another's.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RatioReport {
    /// Whose time.
    pub of: Peer,
    /// In parts of whose.
    pub to: Peer,
    /// The quotients of the rounds.
    pub ratio: Spread,
}

impl Report {
    /// Starts a report without results.
    pub fn new(settings: &Settings, machine: Machine) -> Self {
        Self {
            recorded_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            machine,
            optimised: !cfg!(debug_assertions),
            rounds: settings.rounds,
            seconds: settings.duration.as_secs(),
            warm_up_seconds: WARM_UP.as_secs(),
            scenarios: Vec::new(),
        }
    }

    /// Returns the scenarios in which the median of Portcullis to bare-pingora
    /// is above a limit.
    pub fn scenarios_above(&self, limit: f64) -> Vec<(Scenario, f64)> {
        let medians = self.scenarios.iter().filter_map(|scenario| {
            let ratio = scenario.ratio(Peer::Portcullis, Peer::BarePingora)?;
            Some((scenario.scenario, ratio.median))
        });
        medians.filter(|(_, median)| *median > limit).collect()
    }
}

impl ScenarioReport {
    /// Sums up samples; peers without any are left out.
    pub fn new(peers: &[(Peer, String)], samples: ScenarioSamples) -> Self {
        let mut plain = samples.plain.into_iter();
        let with_samples = peers.iter().zip(samples.samples);
        let peers: Vec<PeerReport> = with_samples
            .filter_map(|((peer, version), samples)| {
                let plain = plain.next().unwrap_or_default();
                Some(PeerReport {
                    peer: *peer,
                    version: version.clone(),
                    cpu_us_per_request: Spread::of(&cpu(&samples))?,
                    requests_per_second: Spread::of(&rate(&samples))?,
                    busy: Spread::of(&busy(&samples))?,
                    resumed: Spread::of(&resumed(&samples)),
                    plain: PlainReport::new(&samples, plain),
                    samples,
                })
            })
            .collect();
        let ratios = RATIOS.iter().filter_map(|(of, to)| ratio(&peers, *of, *to));
        let ratios = ratios.collect();
        Self {
            scenario: samples.scenario,
            connections: samples.scenario.connections(),
            peers,
            ratios,
            profile: Vec::new(),
        }
    }

    fn ratio(&self, of: Peer, to: Peer) -> Option<Spread> {
        let mut ratios = self.ratios.iter();
        let found = ratios.find(|ratio| ratio.of == of && ratio.to == to)?;
        Some(found.ratio)
    }
}

impl PlainReport {
    /// Sums up samples of a backend in clear; `None` where there is none.
    fn new(tls: &[Sample], plain: Vec<Sample>) -> Option<Self> {
        Some(Self {
            cpu_us_per_request: Spread::of(&cpu(&plain))?,
            tls_to_plain: Spread::of_ratios(&cpu(tls), &cpu(&plain))?,
            samples: plain,
        })
    }
}

fn ratio(peers: &[PeerReport], of: Peer, to: Peer) -> Option<RatioReport> {
    let of_peer = peers.iter().find(|report| report.peer == of)?;
    let to_peer = peers.iter().find(|report| report.peer == to)?;
    let ratio = Spread::of_ratios(&cpu(&of_peer.samples), &cpu(&to_peer.samples))?;
    Some(RatioReport { of, to, ratio })
}

fn cpu(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|s| s.cpu_us_per_request).collect()
}

fn rate(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|s| s.requests_per_second).collect()
}

fn resumed(samples: &[Sample]) -> Vec<f64> {
    samples.iter().filter_map(|s| s.resumed).collect()
}

fn busy(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|s| s.busy).collect()
}

#[cfg(test)]
mod tests;
