//! Where the CPU time of a process goes: `perf record` and the top of its report.
//!
//! In: a process id and a time. Out: the functions with most samples of their
//! own, and a `perf.data` file for a flame graph. Sampling costs the process
//! some time, so a profiled run never counts as a round.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::programs;

/// Lines of the report that are told.
pub const TOP: usize = 15;

/// Samples per second; not a divisor of the timer's rate, so as not to beat with it.
const FREQUENCY: &str = "997";

/// perf.
#[derive(Clone, Debug)]
pub struct Profiler {
    program: PathBuf,
}

impl Profiler {
    /// Finds perf.
    ///
    /// # Errors
    ///
    /// When it is not installed.
    pub fn new() -> anyhow::Result<Self> {
        let program = programs::system("perf", "linux-perf")?;
        Ok(Self { program })
    }

    /// Samples a process, with its call chains, for that long.
    ///
    /// # Errors
    ///
    /// When perf fails, for want of permission most likely.
    pub async fn record(&self, pid: u32, duration: Duration, data: &Path) -> anyhow::Result<()> {
        let output = Command::new(&self.program)
            .args(["record", "-q", "-g", "-F", FREQUENCY])
            .args(["-p", &pid.to_string(), "-o"])
            .arg(data)
            .args(["--", "sleep", &duration.as_secs().to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("starting perf")?;
        ensure!(
            output.status.success(),
            "perf record failed; it needs kernel.perf_event_paranoid at 1 or below, or root: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Returns the [`TOP`] functions by samples of their own, most first.
    ///
    /// # Errors
    ///
    /// When perf cannot read the data.
    pub async fn top(&self, data: &Path) -> anyhow::Result<Vec<String>> {
        let output = Command::new(&self.program)
            .args(["report", "--no-children", "--stdio", "-g", "none"])
            .args(["--fields", "overhead,dso,symbol", "-i"])
            .arg(data)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("starting perf")?;
        ensure!(
            output.status.success(),
            "perf report failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(entries(&String::from_utf8_lossy(&output.stdout)))
    }
}

fn entries(report: &str) -> Vec<String> {
    report
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .take(TOP)
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_the_lines_that_are_not_comments() {
        let report = "# Samples: 10K\n#\n# Overhead  Shared Object  Symbol\n# ........\n\n    12.50%  [kernel]     [k] tcp_sendmsg\n     3.25%  portcullis   [.] find\n\n\n#\n# (Tip: ...)\n";
        assert_eq!(
            entries(report),
            [
                "12.50% [kernel] [k] tcp_sendmsg",
                "3.25% portcullis [.] find"
            ]
        );
        assert_eq!(entries(&"1% a [.] b\n".repeat(40)).len(), TOP);
    }
}
