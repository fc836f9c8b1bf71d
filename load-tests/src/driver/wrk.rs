//! wrk: HTTP/1.1, in clear and over TLS, with a script for each scenario.

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{Load, url};
use crate::scenario::Scenario;

const SUMMARY: &str = include_str!("../../scripts/summary.lua");
const GET: &str = include_str!("../../scripts/get.lua");
const BROWSER: &str = include_str!("../../scripts/browser.lua");
const FORM: &str = include_str!("../../scripts/form.lua");
const POST: &str = include_str!("../../scripts/post.lua");
const UPLOAD: &str = include_str!("../../scripts/upload.lua");
const CLOSE: &str = include_str!("../../scripts/close.lua");

/// Failures by kind, as wrk counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Errors {
    /// Connections that were not opened.
    connect: u64,
    /// Reads that failed.
    read: u64,
    /// Writes that failed.
    write: u64,
    /// Answers with a status of 400 and above. Others than 200 show in the probe.
    status: u64,
    /// Answers that took longer than 2 s.
    timeout: u64,
}

/// Writes a script for each scenario.
pub(super) fn write_scripts(folder: &Path) -> anyhow::Result<()> {
    for scenario in Scenario::ALL {
        let file = script(folder, scenario);
        fs::write(&file, script_text(scenario)).with_context(|| format!("writing {file:?}"))?;
    }
    Ok(())
}

fn script_text(scenario: Scenario) -> String {
    let parts: &[&str] = match scenario {
        Scenario::Get
        | Scenario::H2
        | Scenario::BackendTls
        | Scenario::BackendHandshake
        | Scenario::BackendWholeHandshake => &[GET],
        Scenario::BrowserGet => &[GET, BROWSER],
        Scenario::Form => &[BROWSER, FORM],
        Scenario::Post => &[POST],
        Scenario::Upload => &[UPLOAD],
        Scenario::Handshake => &[GET, CLOSE],
    };
    parts.concat() + SUMMARY
}

/// The command of a run.
pub(super) fn command(
    program: &Path,
    folder: &Path,
    scenario: Scenario,
    address: SocketAddr,
    duration: Duration,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-t", "1", "-c", &scenario.connections().count.to_string()])
        .args(["-d", &format!("{}s", duration.as_secs())])
        .arg("-s")
        .arg(script(folder, scenario))
        .arg(url(scenario, address));
    command
}

/// Reads what wrk printed; any failure is an error.
pub(super) fn judge(text: &str) -> anyhow::Result<Load> {
    let (load, errors) = parse_summary(text)
        .with_context(|| format!("wrk printed no summary that can be read:\n{text}"))?;
    ensure!(
        errors == Errors::default(),
        "not every request succeeded: {} of {} answered, {errors}",
        load.requests.saturating_sub(errors.status),
        load.requests,
    );
    Ok(load)
}

fn script(folder: &Path, scenario: Scenario) -> PathBuf {
    folder.join(format!("{}.lua", scenario.word()))
}

/// Reads the line that `scripts/summary.lua` prints.
fn parse_summary(text: &str) -> Option<(Load, Errors)> {
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
    let load = Load {
        requests: number("requests")?,
        duration: Duration::from_micros(number("duration_us")?),
    };
    let errors = Errors {
        connect: number("connect")?,
        read: number("read")?,
        write: number("write")?,
        status: number("status")?,
        timeout: number("timeout")?,
    };
    Some((load, errors))
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
        let (load, found) = parse_summary(text).unwrap();
        assert_eq!(load.requests, 150_000);
        assert_eq!(load.duration, Duration::from_micros(5_001_234));
        let errors = Errors {
            connect: 0,
            read: 1,
            write: 2,
            status: 3,
            timeout: 4,
        };
        assert_eq!(found, errors);
        assert!(judge(text).is_err());
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

    /// The text between the quotes of `wrk.body`, or the size that it repeats to.
    fn body_bytes(script: &str) -> usize {
        let Some((_, body)) = script.split_once("wrk.body = ") else {
            return 0;
        };
        let body = body.lines().next().unwrap();
        match body.strip_prefix("string.rep(\"x\", ") {
            Some(size) => size.trim_end_matches(')').parse().unwrap(),
            None => body.trim_matches('"').len(),
        }
    }

    #[test]
    fn the_body_of_each_script_has_the_size_of_its_scenario() {
        for scenario in Scenario::ALL {
            let script = script_text(scenario);
            assert_eq!(body_bytes(&script), scenario.body_bytes(), "{scenario:?}");
            let method = if scenario.body_bytes() == 0 {
                "GET"
            } else {
                "POST"
            };
            assert!(
                script.contains(&format!("wrk.method = \"{method}\"")),
                "{scenario:?}"
            );
        }
    }
}
