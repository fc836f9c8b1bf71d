//! The load driver: wrk, with a script for each scenario.
//!
//! In: a scenario, an address, a time. Out: how many requests were answered,
//! and in what time. An error of any kind, or an answer that is not a success,
//! fails the run: a peer that refuses is fast and must not win.

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::{programs, scenario::Scenario};

/// Connections kept open, all busy.
pub const CONNECTIONS: u32 = 32;

/// Time beyond its own that wrk gets to end.
const GRACE: Duration = Duration::from_secs(15);

const SUMMARY: &str = include_str!("../scripts/summary.lua");
const GET: &str = include_str!("../scripts/get.lua");
const POST: &str = include_str!("../scripts/post.lua");

/// wrk and the folder of its scripts.
#[derive(Clone, Debug)]
pub struct Driver {
    program: PathBuf,
    folder: PathBuf,
}

/// What a run of the driver saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Time in which they were.
    pub duration: Duration,
    /// What went wrong.
    pub errors: Errors,
}

/// Failures by kind, as wrk counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Connections that were not opened.
    pub connect: u64,
    /// Reads that failed.
    pub read: u64,
    /// Writes that failed.
    pub write: u64,
    /// Answers with a status of 400 and above. Others than 200 show in the probe.
    pub status: u64,
    /// Answers that took longer than 2 s.
    pub timeout: u64,
}

impl Driver {
    /// Finds wrk and writes the scripts into a folder.
    ///
    /// # Errors
    ///
    /// When wrk is not installed or the folder cannot be written.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let program = programs::system("wrk", "wrk")?;
        for scenario in Scenario::ALL {
            let request = match scenario {
                Scenario::Get => GET,
                Scenario::Post => POST,
            };
            let file = script(folder, scenario);
            fs::write(&file, format!("{request}{SUMMARY}"))
                .with_context(|| format!("writing {file:?}"))?;
        }
        let folder = folder.to_owned();
        Ok(Self { program, folder })
    }

    /// Sends requests for that long.
    ///
    /// # Errors
    ///
    /// When wrk fails, when a single request fails, or when there was none.
    pub async fn run(
        &self,
        scenario: Scenario,
        address: SocketAddr,
        duration: Duration,
    ) -> anyhow::Result<Load> {
        let output = Command::new(&self.program)
            .args(["-t", "1", "-c", &CONNECTIONS.to_string()])
            .args(["-d", &format!("{}s", duration.as_secs())])
            .arg("-s")
            .arg(script(&self.folder, scenario))
            .arg(format!("http://{address}/"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(duration + GRACE, output)
            .await
            .context("wrk did not end")?
            .context("starting wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("wrk failed with {}: {text}{errors}", output.status);
        }
        let load = parse_summary(&text)
            .with_context(|| format!("wrk printed no summary that can be read:\n{text}"))?;
        ensure!(
            load.errors == Errors::default(),
            "not every request succeeded: {} of {} answered, {}",
            load.requests.saturating_sub(load.errors.status),
            load.requests,
            load.errors
        );
        ensure!(load.requests > 0, "no request was answered");
        Ok(load)
    }
}

fn script(folder: &Path, scenario: Scenario) -> PathBuf {
    folder.join(format!("{}.lua", scenario.word()))
}

/// Reads the line that `scripts/summary.lua` prints.
fn parse_summary(text: &str) -> Option<Load> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("SUMMARY "))?;
    let number = |name: &str| {
        let field = line.split(' ').find_map(|field| {
            let (key, value) = field.split_once('=')?;
            (key == name).then_some(value)
        })?;
        field.parse::<u64>().ok()
    };
    Some(Load {
        requests: number("requests")?,
        duration: Duration::from_micros(number("duration_us")?),
        errors: Errors {
            connect: number("connect")?,
            read: number("read")?,
            write: number("write")?,
            status: number("status")?,
            timeout: number("timeout")?,
        },
    })
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connect,
            read,
            write,
            status,
            timeout,
        } = self;
        write!(
            f,
            "errors: {connect} connect, {read} read, {write} write, {status} status, {timeout} timeout"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_found_below_the_output_of_wrk() {
        let text = "Running 5s test\n  1 threads\nSUMMARY requests=150000 duration_us=5001234 connect=0 read=1 write=2 status=3 timeout=4\n";
        let load = parse_summary(text).unwrap();
        assert_eq!(load.requests, 150_000);
        assert_eq!(load.duration, Duration::from_micros(5_001_234));
        let errors = Errors {
            connect: 0,
            read: 1,
            write: 2,
            status: 3,
            timeout: 4,
        };
        assert_eq!(load.errors, errors);
    }

    #[test]
    fn a_summary_that_is_missing_or_cut_is_refused() {
        for text in [
            "",
            "Running 5s test\n",
            "SUMMARY requests=1",
            "SUMMARY requests=x duration_us=1 connect=0 read=0 write=0 status=0 timeout=0",
        ] {
            assert_eq!(parse_summary(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_body_of_the_post_script_has_the_size_of_the_scenario() {
        let size = Scenario::Post.body_bytes().to_string();
        assert!(POST.contains(&format!("string.rep(\"x\", {size})")));
    }
}
