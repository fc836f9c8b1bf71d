//! Rounds: each peer in turn, alone, with the same traffic.
//!
//! In: the settings. Out: one [`Sample`] for each peer, round and scenario.
//! A peer is started anew for each sample, so that no luck of one process
//! (memory layout, hash seeds) lasts through all rounds, and is stopped before
//! the next one starts. The upstream stays.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    certificate::CertificateFiles,
    cpu,
    driver::Driver,
    peers::{Peer, Place},
    probe,
    process::{Running, free_address},
    profile::Profiler,
    programs,
    scenario::Scenario,
    stats::rotated,
};

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
}

/// The samples of one scenario: `samples[i][round]` belongs to the i-th peer of
/// the settings.
#[derive(Clone, Debug)]
pub struct ScenarioSamples {
    /// The traffic.
    pub scenario: Scenario,
    /// Samples by peer, then by round.
    pub samples: Vec<Vec<Sample>>,
}

/// An upstream, a driver, and a folder for everything; gone when dropped.
#[derive(Debug)]
pub struct Bench {
    driver: Driver,
    certificate: CertificateFiles,
    upstream: SocketAddr,
    // Dropped in this order: the process before the folder of its output.
    _upstream_process: Running,
    folder: TempDir,
}

impl Bench {
    /// Checks that every program is there, and starts the upstream.
    ///
    /// # Errors
    ///
    /// When a program is missing, or the upstream does not start.
    pub async fn start(peers: &[Peer], scenarios: &[Scenario]) -> anyhow::Result<Self> {
        for peer in peers {
            peer.program()?;
        }
        let folder = tempfile::tempdir().context("creating a temporary folder")?;
        let driver = Driver::new(folder.path(), scenarios)?;
        let certificate = CertificateFiles::make(folder.path())?;
        let upstream = free_address()?;
        let program = programs::built("upstream", "portcullis-load-tests")?;
        let mut command = std::process::Command::new(program);
        command.args(["--listen", &upstream.to_string()]);
        let output = folder.path().join("upstream.out");
        let mut process = Running::start("upstream", command, output)?;
        process.wait_until_ready(upstream).await?;
        Ok(Self {
            driver,
            certificate,
            upstream,
            _upstream_process: process,
            folder,
        })
    }

    /// The address of the upstream.
    pub fn upstream(&self) -> SocketAddr {
        self.upstream
    }

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
        let mut samples = vec![Vec::with_capacity(settings.rounds); settings.peers.len()];
        let order: Vec<usize> = (0..settings.peers.len()).collect();
        for round in 0..settings.rounds {
            for index in rotated(&order, round) {
                let peer = settings.peers[index];
                let sample = self
                    .measure(peer, scenario, settings.duration)
                    .await
                    .with_context(|| format!("{}, {}", peer.name(), scenario.title()))?;
                eprintln!(
                    "{} {}/{}: {:12} {:7.2} us/request {:8.0} requests/s {:4.2} busy",
                    scenario.word(),
                    round + 1,
                    settings.rounds,
                    peer.name(),
                    sample.cpu_us_per_request,
                    sample.requests_per_second,
                    sample.busy
                );
                samples[index].push(sample);
            }
        }
        Ok(ScenarioSamples { scenario, samples })
    }

    /// Samples a peer under load with perf; leaves the data in `data` and
    /// returns the top of the report.
    ///
    /// # Errors
    ///
    /// When the peer does not start, fails a request, or perf fails.
    pub async fn profile(
        &self,
        profiler: &Profiler,
        peer: Peer,
        scenario: Scenario,
        duration: Duration,
        data: &Path,
    ) -> anyhow::Result<Vec<String>> {
        let started = self.start_peer(peer, scenario).await?;
        // The load lasts a second longer, so that no sample falls on an idle peer.
        let load = self
            .driver
            .run(scenario, started.address, duration + Duration::from_secs(1));
        let record = profiler.record(started.process.pid(), duration, data);
        tokio::try_join!(load, record)?;
        // The peer's symbols are read from its file, not from the process.
        drop(started);
        profiler.top(data).await
    }

    async fn measure(
        &self,
        peer: Peer,
        scenario: Scenario,
        duration: Duration,
    ) -> anyhow::Result<Sample> {
        let started = self.start_peer(peer, scenario).await?;
        let pid = started.process.pid();
        let before = cpu::of_tree(pid)?;
        let load = self.driver.run(scenario, started.address, duration).await?;
        let spent = cpu::of_tree(pid)?.saturating_sub(before);
        let requests = load.requests as f64;
        Ok(Sample {
            cpu_us_per_request: spent.as_secs_f64() * 1e6 / requests,
            requests_per_second: requests / load.duration.as_secs_f64(),
            requests: load.requests,
            busy: spent.as_secs_f64() / load.duration.as_secs_f64(),
        })
    }

    async fn start_peer(&self, peer: Peer, scenario: Scenario) -> anyhow::Result<StartedPeer> {
        let folder = tempfile::tempdir_in(self.folder.path()).context("creating a folder")?;
        let (address, address_tls) = (free_address()?, free_address()?);
        let place = Place {
            listen: address,
            listen_tls: address_tls,
            certificate: &self.certificate,
            upstream: self.upstream,
            folder: folder.path(),
        };
        let command = peer.command(&place)?;
        let output = folder.path().join("out");
        let mut process = Running::start(peer.name(), command, output)?;
        process.wait_until_ready(address).await?;
        probe::send(address, scenario.body_bytes())
            .await
            .context("the probe failed")?;
        let address = if scenario.is_tls() {
            address_tls
        } else {
            address
        };
        self.driver.run(scenario, address, WARM_UP).await?;
        Ok(StartedPeer {
            address,
            process,
            _folder: folder,
        })
    }
}

/// A warm peer; dropping it stops it, then removes its files.
struct StartedPeer {
    address: SocketAddr,
    process: Running,
    _folder: TempDir,
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
