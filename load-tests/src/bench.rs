//! What a comparison runs in: upstreams, a driver, a folder, and one measurement.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use tempfile::TempDir;

use crate::{
    backend::{Backend, Connect},
    certificate::CertificateFiles,
    compare::{Sample, WARM_UP},
    cpu,
    driver::Driver,
    peers::{Peer, Place, Upstream},
    probe,
    process::{Running, free_address},
    profile::Profiler,
    programs,
    scenario::Scenario,
};

/// An upstream, a driver, and a folder for everything; gone when dropped.
#[derive(Debug)]
pub struct Bench {
    driver: Driver,
    certificate: CertificateFiles,
    upstream: SocketAddr,
    // Dropped in this order: the processes before the folder of their output.
    _upstream_process: Running,
    backend: Option<Backend>,
    folder: TempDir,
}

impl Bench {
    /// Checks that every program is there, and starts the upstream, and the backend that
    /// speaks TLS where a scenario has it.
    ///
    /// # Errors
    ///
    /// When a program is missing, or one of them does not start.
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
        let mut backend = None;
        if scenarios.iter().any(|s| s.backend_tls().is_some()) {
            let folder = folder.path().join("backend");
            backend = Some(Backend::start(&certificate, folder).await?);
        }
        Ok(Self {
            driver,
            certificate,
            upstream,
            _upstream_process: process,
            backend,
            folder,
        })
    }

    /// The address of the upstream.
    pub fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    /// The backend of a scenario that speaks TLS, and what it does with connections.
    pub(crate) fn backend_of(
        &self,
        scenario: Scenario,
    ) -> anyhow::Result<Option<(&Backend, Connect)>> {
        let Some(connect) = scenario.backend_tls() else {
            return Ok(None);
        };
        let backend = self.backend.as_ref();
        let backend = backend.context("the backend over TLS was not asked for")?;
        Ok(Some((backend, connect)))
    }

    /// Where peers forward a scenario to.
    fn upstream_of(&self, scenario: Scenario) -> anyhow::Result<Upstream> {
        let backend = self.backend_of(scenario)?;
        Ok(backend.map_or(
            Upstream {
                address: self.upstream,
                tls: false,
                kept: true,
            },
            |(backend, connect)| backend.tls(connect),
        ))
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
        let upstream = self.upstream_of(scenario)?;
        let started = self.start_peer(peer, scenario, upstream).await?;
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

    /// Measures a peer once.
    pub(crate) async fn measure(
        &self,
        peer: Peer,
        scenario: Scenario,
        duration: Duration,
    ) -> anyhow::Result<Sample> {
        let upstream = self.upstream_of(scenario)?;
        let backend = self.backend_of(scenario)?;
        let Some((backend, _)) = backend.filter(|(_, connect)| connect.is_new()) else {
            return self.measure_at(peer, scenario, upstream, duration).await;
        };
        // With the connections of the warm-up, which take up sessions as the others do.
        let mark = backend.mark().await?;
        let mut sample = self.measure_at(peer, scenario, upstream, duration).await?;
        sample.resumed = Some(backend.resumed_since(mark).await?);
        Ok(sample)
    }

    /// Measures a peer in front of an upstream that is not the scenario's.
    pub(crate) async fn measure_at(
        &self,
        peer: Peer,
        scenario: Scenario,
        upstream: Upstream,
        duration: Duration,
    ) -> anyhow::Result<Sample> {
        let started = self.start_peer(peer, scenario, upstream).await?;
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
            resumed: None,
        })
    }

    async fn start_peer(
        &self,
        peer: Peer,
        scenario: Scenario,
        upstream: Upstream,
    ) -> anyhow::Result<StartedPeer> {
        let folder = tempfile::tempdir_in(self.folder.path()).context("creating a folder")?;
        let (address, address_tls) = (free_address()?, free_address()?);
        let place = Place {
            listen: address,
            listen_tls: address_tls,
            certificate: &self.certificate,
            upstream,
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
