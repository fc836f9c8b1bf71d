//! What a reload of many hosts takes, and whether it costs anybody a connection.
//!
//! ```text
//! swap the file -> noticed -> read, checked, compiled -> serves
//!      |<----------------- until it serves --------------->|
//!                      |<------ load, the gateway's own --->|
//! ```
//!
//! In: numbers of hosts, connections and rounds. Out: a [`ReloadReport`]. The
//! connections stay open through all rounds; each is asked before and after each
//! swap, and one that closes or fails is counted. At the end every host is asked once.

use std::{
    fmt::{self, Write as _},
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    bench::Bench,
    machine::Machine,
    peers::portcullis,
    process::{Running, free_address},
    stats::Spread,
};

/// Longest wait for an answer, and for a swap to be served.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two questions whether a swap is served.
const POLL: Duration = Duration::from_millis(2);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct ReloadSettings {
    /// Hosts, each with a route, two rules and a backend of its own.
    pub hosts: usize,
    /// Connections held open through all rounds.
    pub connections: usize,
    /// Swaps.
    pub rounds: usize,
}

/// What the rounds gave.
#[derive(Clone, Debug, Serialize)]
pub struct ReloadReport {
    /// When it was made, RFC 3339.
    pub recorded_at: String,
    /// On which machine.
    pub machine: Machine,
    /// Whether the programs were built with optimisation.
    pub optimised: bool,
    /// Hosts, each with a route, two rules and a backend of its own.
    pub hosts: usize,
    /// Bytes of the configuration.
    pub bytes: usize,
    /// Connections held open.
    pub connections: usize,
    /// Those that closed or failed.
    pub closed: usize,
    /// Milliseconds of the load, as the gateway tells.
    pub load_ms: Spread,
    /// Milliseconds from the swap of the file until a request was served by it: the
    /// load, and the time in which a change is noticed and has settled.
    pub served_ms: Spread,
    /// Milliseconds of each load.
    pub loads_ms: Vec<f64>,
}

/// Runs the rounds.
///
/// # Errors
///
/// When something does not start, a swap is not served, or a host is not.
pub async fn measure(settings: ReloadSettings) -> anyhow::Result<ReloadReport> {
    let machine = Machine::read();
    let bench = Bench::start(&[], &[]).await?;
    let folder = tempfile::tempdir().context("creating a temporary folder")?;
    let file = folder.path().join("portcullis.yaml");
    let (address, management) = (free_address()?, free_address()?);
    let config = |version| {
        let place = [address, management, bench.upstream()];
        configuration(settings.hosts, version, place)
    };
    let bytes = config(0).len();
    fs::write(&file, config(0)).context("writing the configuration")?;
    let mut command = Command::new(portcullis::program()?);
    command.args(["run", "--threads", "1", "--config"]);
    command.arg(&file);
    let mut gateway = Running::start("portcullis", command, folder.path().join("out"))?;
    gateway.wait_until_ready(address).await?;

    let mut open = Vec::new();
    for n in 0..settings.connections {
        let mut stream = TcpStream::connect(address).await.context("connecting")?;
        served_version(&mut stream, n % settings.hosts).await?;
        open.push(Some(stream));
    }
    let (mut loads, mut served) = (Vec::new(), Vec::new());
    for version in 1..=settings.rounds {
        swap(&file, &config(version))?;
        let swapped = Instant::now();
        let mut probe = TcpStream::connect(address).await.context("connecting")?;
        while served_version(&mut probe, 0).await? != version {
            ensure!(
                swapped.elapsed() < PATIENCE,
                "version {version} is not served"
            );
            tokio::time::sleep(POLL).await;
        }
        served.push(swapped.elapsed().as_secs_f64() * 1e3);
        for (n, slot) in open.iter_mut().enumerate() {
            let Some(stream) = slot else { continue };
            let found = served_version(stream, n % settings.hosts).await;
            if !matches!(found, Ok(found) if found == version) {
                *slot = None;
            }
        }
        loads.push(load_seconds(management, version).await? * 1e3);
    }
    let mut last = TcpStream::connect(address).await.context("connecting")?;
    for host in 0..settings.hosts {
        let found = served_version(&mut last, host).await?;
        ensure!(
            found == settings.rounds,
            "host {host} is served by version {found}"
        );
    }
    Ok(ReloadReport {
        recorded_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        machine,
        optimised: !cfg!(debug_assertions),
        hosts: settings.hosts,
        bytes,
        connections: settings.connections,
        closed: open.iter().filter(|slot| slot.is_none()).count(),
        load_ms: Spread::of(&loads).context("no round was run")?,
        served_ms: Spread::of(&served).context("no round was run")?,
        loads_ms: loads,
    })
}

/// A configuration that says its version in a response header of every host.
fn configuration(hosts: usize, version: usize, place: [SocketAddr; 3]) -> String {
    let [listen, management, upstream] = place;
    let mut yaml = format!(
        "listeners:\n- {{name: web, protocol: http, address: '{listen}'}}\nmanagement: {{address: '{management}'}}\nadmin: {{address: '127.0.0.1:0'}}\nlogs: {{access: off, audit: off}}\naccessLists:\n- {{name: local, allow: [127.0.0.0/8]}}\ndefaults: {{access: [local], maxBodySize: 10MiB}}\nbackends:\n"
    );
    for host in 0..hosts {
        let _ = writeln!(
            yaml,
            "- name: team-{host}-shop\n  endpoints:\n  - address: {upstream}\n"
        );
    }
    yaml.push_str("routes:\n");
    for host in 0..hosts {
        let _ = writeln!(
            yaml,
            "- name: team-{host}-shop
  hosts: [shop-{host}.example.com]
  rules:
  - matches:
    - path: {{prefix: /api}}
    policies: {{maxBodySize: 1MiB}}
    backends:
    - name: team-{host}-shop
  - responseHeaders:
      set: {{X-Version: \"{version}\"}}
    backends:
    - name: team-{host}-shop"
        );
    }
    // What answers `localhost` while the gateway starts.
    yaml.push_str("- {name: ready, rules: [{backends: [{name: team-0-shop}]}]}\n");
    yaml
}

/// Replaces a file whole.
fn swap(file: &Path, text: &str) -> anyhow::Result<()> {
    let part = file.with_extension("part");
    fs::write(&part, text).context("writing the configuration")?;
    fs::rename(&part, file).context("swapping the configuration")
}

/// Asks for a host over an open connection: the version that served it.
async fn served_version(stream: &mut TcpStream, host: usize) -> anyhow::Result<usize> {
    let request = format!("GET / HTTP/1.1\r\nHost: shop-{host}.example.com\r\n\r\n");
    let answer = exchange(stream, request.as_bytes()).await?;
    header(&answer, "x-version")
        .and_then(|version| version.parse().ok())
        .with_context(|| format!("no version in {answer:?}"))
}

async fn exchange(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<String> {
    let work = async {
        stream.write_all(request).await.context("sending")?;
        let mut bytes = Vec::new();
        loop {
            ensure!(
                stream.read_buf(&mut bytes).await? > 0,
                "the connection closed"
            );
            let text = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length: usize = header(head, "content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return Ok(text.into_owned());
            }
        }
    };
    timeout(PATIENCE, work).await.context("no answer")?
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The time of the load, once the metrics tell of this one: the first was the start's.
async fn load_seconds(management: SocketAddr, round: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(management).await.context("connecting")?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let text = exchange(&mut stream, request).await?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<f64>().ok()
        };
        if value("portcullis_config_snapshot ") == Some((round + 1) as f64)
            && let Some(seconds) = value("portcullis_config_load_seconds ")
        {
            return Ok(seconds);
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "the metrics do not tell of round {round}"
        );
        tokio::time::sleep(POLL).await;
    }
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |spread: Spread| {
            let Spread { median, min, max } = spread;
            format!("{median:.1} ({min:.1}-{max:.1})")
        };
        if !self.optimised {
            writeln!(f, "Built without optimisation: these numbers mean nothing.")?;
        }
        writeln!(
            f,
            "| hosts | configuration | load ms | swap to served ms | connections | closed |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        writeln!(
            f,
            "| {} | {} kB | {} | {} | {} | {} |",
            self.hosts,
            self.bytes / 1000,
            spread(self.load_ms),
            spread(self.served_ms),
            self.connections,
            self.closed
        )
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::{
        read::{SourceFile, read},
        validate::validate,
    };

    use super::*;

    #[test]
    fn the_configuration_has_no_problems_and_all_hosts() {
        let place = ["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003"];
        let text = configuration(50, 7, place.map(|address| address.parse().unwrap()));
        let read = read(&[SourceFile {
            name: "portcullis.yaml".into(),
            text,
        }]);
        assert!(read.problems.is_empty(), "{:#?}", read.problems);
        let validated = validate(&read.document, &read.origins);
        assert!(validated.problems.is_empty(), "{:#?}", validated.problems);
        assert_eq!(read.document.routes.len(), 51);
    }

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let head = "HTTP/1.1 200 OK\r\nX-Version: 12\r\nA: b";
        assert_eq!(header(head, "x-version"), Some("12"));
        assert_eq!(header(head, "x-other"), None);
    }
}
