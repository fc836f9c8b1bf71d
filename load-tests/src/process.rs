//! A process that ends when its guard goes out of scope.
//!
//! In: a command and a file for its output. Out: a [`Running`] guard. Dropping
//! the guard ends that process and its descendants, by their ids, also when the
//! comparison fails or is interrupted. No other process is ever signalled.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{cpu, probe};

/// Time a process has to answer its first request.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// Time a process has to end after SIGTERM, before SIGKILL. Connections are
/// closed by then, so there is nothing to drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two looks at a process that starts or stops.
const POLL: Duration = Duration::from_millis(20);

/// Lines of output shown when a process does not start.
const SHOWN_LINES: usize = 15;

/// A process started by the comparison.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    child: Child,
    output: PathBuf,
}

impl Running {
    /// Starts a process with its standard output and error in a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be written or the program cannot be started.
    pub fn start(
        name: &'static str,
        mut command: Command,
        output: PathBuf,
    ) -> anyhow::Result<Self> {
        let file = File::create(&output).with_context(|| format!("creating {output:?}"))?;
        let also = file.try_clone().context("duplicating an open file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(also)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name,
            child,
            output,
        })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process answers a request at `address` with 200.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_until`].
    pub async fn wait_until_ready(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.wait_until(|| probe::send(address, 0)).await
    }

    /// Waits until a probe of the process succeeds.
    ///
    /// # Errors
    ///
    /// When the process ends, or the probe still fails after 15 s. The text holds the
    /// last lines of its output.
    pub async fn wait_until<P>(&mut self, probe: impl Fn() -> P) -> anyhow::Result<()>
    where
        P: Future<Output = anyhow::Result<()>>,
    {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let Err(last) = probe().await else {
                return Ok(());
            };
            let (name, output) = (self.name, tail(&self.output));
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended at once with {status}; it printed:\n{output}");
            }
            if Instant::now() > deadline {
                bail!("{name} is not ready: {last:#}; it printed:\n{output}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        // nginx leaves its worker behind when only the master is killed.
        let mut pids = cpu::descendants(self.pid()).unwrap_or_default();
        pids.push(self.pid());
        signal("TERM", &pids);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline && !self.ended() {
            thread::sleep(POLL);
        }
        if !self.ended() {
            signal("KILL", &pids);
            // It may have ended by itself in the meantime.
            let _ = self.child.wait();
        }
    }
}

/// Returns a loopback address with a port that was free a moment ago.
///
/// # Errors
///
/// When no port can be bound.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("finding a free port")?;
    listener.local_addr().context("finding a free port")
}

/// Signals processes through the shell's own `kill`: the standard library can
/// only kill a direct child, and anything else needs unsafe code.
fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$@\"", "sh", name])
        .args(pids)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = sent {
        eprintln!("signal {name} not sent: {error}");
    }
}

fn tail(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn alive(pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn dropping_the_guard_ends_the_process_and_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 60 & trap '' TERM; wait; sleep 60";
        let running = Running::start("sh", shell(script), folder.path().join("out")).unwrap();
        let deadline = Instant::now() + START_TIMEOUT;
        let children = loop {
            let children = cpu::descendants(running.pid()).unwrap();
            if !children.is_empty() {
                break children;
            }
            assert!(Instant::now() < deadline, "the child never started");
            thread::sleep(POLL);
        };
        let pid = running.pid();
        drop(running);
        assert!(!alive(pid));
        assert!(!alive(children[0]));
    }

    #[tokio::test]
    async fn a_process_that_ends_at_once_is_told_with_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo no such setting >&2; exit 3";
        let mut running = Running::start("sh", shell(script), folder.path().join("out")).unwrap();
        let address = free_address().unwrap();
        let error = running.wait_until_ready(address).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("no such setting"), "{text}");
    }
}
