//! h2load: HTTP/2 over TLS, with many streams on each connection.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{Load, url};
use crate::scenario::Scenario;

/// The command of a run.
pub(super) fn command(
    program: &Path,
    scenario: Scenario,
    address: SocketAddr,
    duration: Duration,
) -> Command {
    let connections = scenario.connections();
    let mut command = Command::new(program);
    command
        .args(["-t", "1", "-c", &connections.count.to_string()])
        .args(["-m", &connections.streams.to_string()])
        .args(["-D", &duration.as_secs().to_string()])
        .arg(url(scenario, address));
    command
}

/// Reads what h2load printed; any failure is an error.
pub(super) fn judge(text: &str) -> anyhow::Result<Load> {
    let read = || {
        let requests = line(text, "requests: ")?;
        let statuses = line(text, "status codes: ")?;
        let seconds = line(text, "finished in ")?.split(',').next()?;
        Some((
            number(requests, "succeeded")?,
            ["failed", "errored", "timeout"].map(|name| number(requests, name)),
            ["3xx", "4xx", "5xx"].map(|name| number(statuses, name)),
            time(seconds)?,
        ))
    };
    let (requests, failures, statuses, duration) =
        read().with_context(|| format!("h2load printed nothing that can be read:\n{text}"))?;
    ensure!(
        text.contains("Application protocol: h2\n"),
        "the peer did not choose HTTP/2:\n{text}"
    );
    let all_well = failures.iter().chain(&statuses).all(|n| *n == Some(0));
    ensure!(all_well, "not every request succeeded:\n{text}");
    Ok(Load { requests, duration })
}

fn line<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(start))
}

/// The number before a word, in a list with commas.
fn number(list: &str, word: &str) -> Option<u64> {
    list.split(", ")
        .find_map(|entry| entry.strip_suffix(word)?.trim().parse().ok())
}

fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return None,
    };
    Some(Duration::from_secs_f64(
        number.parse::<f64>().ok()? * seconds,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "starting benchmark...
Application protocol: h2

finished in 2.01s, 12345.50 req/s, 1.23MB/s
requests: 24691 total, 24819 started, 24691 done, 24691 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 24691 2xx, 0 3xx, 0 4xx, 0 5xx
";

    #[test]
    fn a_good_run_is_read() {
        let load = judge(GOOD).unwrap();
        assert_eq!(load.requests, 24_691);
        assert_eq!(load.duration, Duration::from_millis(2010));
        let short = judge(&GOOD.replace("2.01s", "950.00ms")).unwrap();
        assert_eq!(short.duration, Duration::from_millis(950));
    }

    #[test]
    fn a_run_with_a_failure_or_another_protocol_is_refused() {
        for (good, bad) in [
            ("0 failed", "1 failed"),
            ("0 errored", "2 errored"),
            ("0 4xx", "3 4xx"),
            ("protocol: h2", "protocol: http/1.1"),
            ("requests: ", "no requests: "),
        ] {
            assert!(judge(&GOOD.replacen(good, bad, 1)).is_err(), "{bad}");
        }
    }
}
