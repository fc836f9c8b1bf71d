//! The load drivers: wrk with a script for each scenario, and h2load for HTTP/2.
//!
//! In: a scenario, an address, a time. Out: how many requests were answered,
//! and in what time. An error of any kind, or an answer that is not a success,
//! fails the run: a peer that refuses is fast and must not win.

mod h2load;
mod wrk;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::{programs, scenario::Scenario};

/// Time beyond its own that a driver gets to end.
const GRACE: Duration = Duration::from_secs(15);

/// The drivers, and the folder of their scripts.
#[derive(Clone, Debug)]
pub struct Driver {
    wrk: PathBuf,
    h2load: Option<PathBuf>,
    folder: PathBuf,
}

/// What a run of a driver saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Time in which they were.
    pub duration: Duration,
}

impl Driver {
    /// Finds the drivers that the scenarios need, and writes the scripts into a folder.
    ///
    /// # Errors
    ///
    /// When one is not installed or the folder cannot be written.
    pub fn new(folder: &Path, scenarios: &[Scenario]) -> anyhow::Result<Self> {
        wrk::write_scripts(folder)?;
        let h2load = scenarios.contains(&Scenario::H2);
        Ok(Self {
            wrk: programs::system("wrk", "wrk")?,
            h2load: h2load
                .then(|| programs::system("h2load", "nghttp2-client"))
                .transpose()?,
            folder: folder.to_owned(),
        })
    }

    /// Sends requests for that long.
    ///
    /// # Errors
    ///
    /// When the driver fails, when a single request fails, or when there was none.
    pub async fn run(
        &self,
        scenario: Scenario,
        address: SocketAddr,
        duration: Duration,
    ) -> anyhow::Result<Load> {
        let load = if scenario == Scenario::H2 {
            let program = self.h2load.as_ref().context("h2load was not asked for")?;
            let command = h2load::command(program, scenario, address, duration);
            h2load::judge(&output_of("h2load", command, duration).await?)?
        } else {
            let command = wrk::command(&self.wrk, &self.folder, scenario, address, duration);
            wrk::judge(&output_of("wrk", command, duration).await?)?
        };
        ensure!(load.requests > 0, "no request was answered");
        Ok(load)
    }
}

/// The URL that a scenario asks for.
fn url(scenario: Scenario, address: SocketAddr) -> String {
    let scheme = if scenario.is_tls() { "https" } else { "http" };
    format!("{scheme}://{address}{}", scenario.path())
}

async fn output_of(name: &str, mut command: Command, duration: Duration) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(duration + GRACE, output)
        .await
        .with_context(|| format!("{name} did not end"))?
        .with_context(|| format!("starting {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed with {}: {text}{errors}", output.status);
    }
    Ok(text)
}
