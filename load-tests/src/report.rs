//! What a comparison found, as tables to read and JSON to keep.
//!
//! In: samples. Out: a [`Report`], which prints as Markdown and serialises as
//! JSON with every sample in it. No number is left out for being odd.

use std::fmt;

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
        let with_samples = peers.iter().zip(samples.samples);
        let peers: Vec<PeerReport> = with_samples
            .filter_map(|((peer, version), samples)| {
                Some(PeerReport {
                    peer: *peer,
                    version: version.clone(),
                    cpu_us_per_request: Spread::of(&cpu(&samples))?,
                    requests_per_second: Spread::of(&rate(&samples))?,
                    busy: Spread::of(&busy(&samples))?,
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

fn busy(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|s| s.busy).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            processor,
            processors,
            kernel,
            load_average,
        } = &self.machine;
        writeln!(
            f,
            "{}: {processors} x {processor}, Linux {kernel}, load average {load_average} at the start.",
            self.recorded_at
        )?;
        writeln!(
            f,
            "One worker each, {} rounds of {} s after {} s of warm-up; median (min-max).",
            self.rounds, self.seconds, self.warm_up_seconds
        )?;
        if !self.optimised {
            writeln!(f, "Built without optimisation: these numbers mean nothing.")?;
        }
        for scenario in &self.scenarios {
            write!(f, "\n{scenario}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ScenarioReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connections { count, streams } = self.connections;
        let streams = match streams {
            1 => String::new(),
            streams => format!(" of {streams} streams"),
        };
        writeln!(f, "### {}\n", self.scenario.title())?;
        writeln!(f, "{count} connections{streams}.\n")?;
        writeln!(
            f,
            "| peer | CPU us per request | requests per second | busy |"
        )?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for peer in &self.peers {
            let cpu = numbers(peer.cpu_us_per_request, 1);
            let rate = numbers(peer.requests_per_second, 0);
            let busy = numbers(peer.busy, 2);
            let (name, version) = (peer.peer.name(), &peer.version);
            writeln!(f, "| {name} {version} | {cpu} | {rate} | {busy} |")?;
        }
        if !self.ratios.is_empty() {
            writeln!(f, "\n| ratio of CPU per request | median (min-max) |")?;
            writeln!(f, "| --- | --- |")?;
        }
        for RatioReport { of, to, ratio } in &self.ratios {
            let ratio = numbers(*ratio, 3);
            let target = target(self.scenario, *of, *to)
                .map_or_else(String::new, |most| format!(", target at most {most}"));
            writeln!(f, "| {} / {}{target} | {ratio} |", of.name(), to.name())?;
        }
        if !self.profile.is_empty() {
            writeln!(f, "\nMost samples in Portcullis, of their own:\n")?;
        }
        for entry in &self.profile {
            writeln!(f, "    {entry}")?;
        }
        Ok(())
    }
}

fn numbers(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(cpu: &[f64]) -> Vec<Sample> {
        let sample = |cpu: &f64| Sample {
            cpu_us_per_request: *cpu,
            requests_per_second: 1e6 / cpu,
            requests: 1000,
            busy: 1.0,
        };
        cpu.iter().map(sample).collect()
    }

    fn report(peers: &[(Peer, &[f64])]) -> Report {
        let settings = Settings {
            rounds: 3,
            duration: std::time::Duration::from_secs(5),
            scenarios: vec![Scenario::Get],
            peers: peers.iter().map(|(peer, _)| *peer).collect(),
        };
        let machine = Machine {
            processor: "Fast CPU".into(),
            processors: 2,
            kernel: "6.1".into(),
            load_average: 0.0,
        };
        let versions: Vec<(Peer, String)> = peers
            .iter()
            .map(|(peer, _)| (*peer, "1.0".into()))
            .collect();
        let scenario_samples = ScenarioSamples {
            scenario: Scenario::Get,
            samples: peers.iter().map(|(_, cpu)| samples(cpu)).collect(),
        };
        let mut report = Report::new(&settings, machine);
        let scenario = ScenarioReport::new(&versions, scenario_samples);
        report.scenarios.push(scenario);
        report
    }

    #[test]
    fn the_table_has_a_row_for_each_peer_and_ratio() {
        let report = report(&[
            (Peer::Nginx, &[16.0, 17.0, 15.0]),
            (Peer::BarePingora, &[20.0, 25.0, 30.0]),
            (Peer::Portcullis, &[22.0, 27.5, 33.0]),
        ]);
        let text = report.to_string();
        for row in [
            "| nginx 1.0 | 16.0 (15.0-17.0) | 62500 (58824-66667) | 1.00 (1.00-1.00) |",
            "| portcullis / bare-pingora, target at most 1.1 | 1.100 (1.100-1.100) |",
            "| bare-pingora / nginx | 1.471 (1.250-2.000) |",
        ] {
            assert!(text.contains(row), "{row} in\n{text}");
        }
    }

    #[test]
    fn a_scenario_above_the_limit_is_named() {
        let report = report(&[
            (Peer::BarePingora, &[20.0, 20.0, 20.0]),
            (Peer::Portcullis, &[22.0, 24.0, 30.0]),
        ]);
        assert_eq!(report.scenarios_above(1.15), [(Scenario::Get, 1.2)]);
        assert!(report.scenarios_above(1.2).is_empty());
    }

    #[test]
    fn a_peer_that_did_not_run_has_no_ratio() {
        let report = report(&[(Peer::Portcullis, &[22.0, 24.0, 30.0])]);
        assert!(report.scenarios[0].ratios.is_empty());
        assert!(report.scenarios_above(0.0).is_empty());
    }

    #[test]
    fn the_json_keeps_every_sample() {
        let report = report(&[(Peer::Portcullis, &[22.0, 24.0, 30.0])]);
        let json = serde_json::to_value(&report).unwrap();
        let samples = &json["scenarios"][0]["peers"][0]["samples"];
        assert_eq!(samples.as_array().map(Vec::len), Some(3));
        assert_eq!(json["scenarios"][0]["peers"][0]["peer"], "portcullis");
    }
}
