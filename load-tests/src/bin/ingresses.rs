//! `ingresses`: how long an Ingress takes from being accepted to being served, while thousands are
//! added one by one, or while one among thousands is changed.
//!
//! Starts the cluster of the tests, has the API server hold what is there before, runs the release
//! binary on one of the nodes, and adds or changes Ingresses. Each is asked for from the moment the API
//! server has accepted it; and with each, another one, which must be served all the time.
//!
//!     cargo build --release -p portcullis -p portcullis-load-tests --bins
//!     PORTCULLIS_CLUSTER=1 PORTCULLIS_BIN=target/release/portcullis target/release/ingresses

use std::{
    fs,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Parser;
use portcullis_load_tests::{
    cpu,
    ingresses::{Api, Bed, Measured, Scenario},
    programs,
    stats::Spread,
};
use portcullis_tests::{Cluster, cluster};

/// How long Ingresses take to be served.
#[derive(Debug, Parser)]
struct Arguments {
    /// Ingresses that are added, one by one.
    #[arg(long, default_value_t = 3000)]
    ingresses: usize,
    /// Ingresses that are there before the gateway starts.
    #[arg(long, default_value_t = 0)]
    before: usize,
    /// Changes of one Ingress, one by one, when all are there.
    #[arg(long, default_value_t = 0)]
    changes: usize,
    /// Give each Ingress a TLS Secret of its own, with a certificate for its host.
    #[arg(long)]
    tls: bool,
    /// Endpoints that each Ingress has besides, of a Service of its own.
    #[arg(long, default_value_t = 0)]
    endpoints: usize,
    /// Exit with 1 when a median is above this many milliseconds.
    #[arg(long)]
    check: Option<f64>,
}

/// What one part of the run cost.
struct Part {
    measured: Measured,
    cpu: Duration,
}

/// What the gateway took to serve what was there before.
struct Start {
    took: Duration,
    cpu: Duration,
    resident: usize,
}

/// Settings of the gateway: what has a certificate is served in clear as well.
const SETTINGS: &str = "listeners: [{name: http, protocol: http}, {name: https, protocol: https}]
defaults: {https: optional}
";

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let Some(cluster) = cluster() else {
        bail!("no cluster");
    };
    let folder = tempfile::tempdir()?;
    let settings = folder.path().join("settings.yaml");
    fs::write(&settings, SETTINGS)?;
    let scenario = Scenario {
        before: arguments.before,
        added: arguments.ingresses,
        changes: arguments.changes,
        tls: arguments.tls,
        endpoints: arguments.endpoints,
    };
    let api = Api::read(cluster)?;
    let mut gateway = command(cluster, &settings)?;
    let (start, parts, end) = cluster.within("node-a", move || async move {
        let bed = Bed::prepare(api, scenario).await?;
        let gateway = Running(gateway.spawn().context("nsenter")?);
        measure(&bed, gateway.0.id()).await
    })?;
    println!("| what | |\n| --- | --- |");
    println!("| Ingresses there before | {} |", arguments.before);
    println!("| a TLS Secret for each | {} |", arguments.tls);
    println!("| endpoints of each, besides | {} |", arguments.endpoints);
    if arguments.before > 0 {
        let (took, cpu) = (start.took.as_secs_f64(), start.cpu.as_secs_f64());
        println!("| from the start until they are served, s | {took:.1} |");
        println!("| CPU time for that, s | {cpu:.1} |");
        println!("| resident then, MiB | {} |", start.resident >> 20);
    }
    let mut fails = false;
    for (what, part) in ["added", "changed"].into_iter().zip(&parts) {
        fails |= part.measured.wrong > 0;
        if let Some(median) = tell(what, part) {
            fails |= arguments.check.is_some_and(|most| median > most);
        }
    }
    let (resident, peak) = end;
    println!("| resident at the end, MiB | {} |", resident >> 20);
    println!("| resident at most, MiB | {} |", peak >> 20);
    Ok(match fails {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Ends with what holds it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which was told then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(bed: &Bed, gateway: u32) -> anyhow::Result<(Start, [Part; 2], (usize, usize))> {
    let took = bed.ready().await?;
    let start = Start {
        took,
        cpu: cpu::of_tree(gateway)?,
        resident: memory(gateway, "VmRSS:")?,
    };
    let before = cpu::of_tree(gateway)?;
    let measured = bed.add().await?;
    let between = cpu::of_tree(gateway)?;
    let added = Part {
        measured,
        cpu: between - before,
    };
    let measured = bed.change().await?;
    let changed = Part {
        measured,
        cpu: cpu::of_tree(gateway)? - between,
    };
    let end = (memory(gateway, "VmRSS:")?, memory(gateway, "VmHWM:")?);
    Ok((start, [added, changed], end))
}

/// Prints what was measured, and returns the median; none where nothing was.
fn tell(what: &str, part: &Part) -> Option<f64> {
    let times = &part.measured.milliseconds;
    let spread = Spread::of(times)?;
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    let late = sorted[sorted.len() * 99 / 100];
    let each = part.cpu.as_secs_f64() * 1e3 / times.len() as f64;
    println!("| {what} one by one | {} |", times.len());
    println!(
        "| {what}: from accepted to served, ms, median | {:.1} |",
        spread.median
    );
    println!("| {what}: 99 of 100 | {late:.1} |");
    println!("| {what}: longest | {:.1} |", spread.max);
    println!(
        "| {what}: wrong answers meanwhile | {} |",
        part.measured.wrong
    );
    println!("| {what}: CPU time of the gateway for each, ms | {each:.1} |");
    Some(spread.median)
}

fn command(cluster: &Cluster, settings: &std::path::Path) -> anyhow::Result<Command> {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", cluster.namespace("node-a")))
        .arg(programs::built("portcullis", "portcullis")?)
        .args([
            "run",
            "--kubernetes",
            "--update-status=false",
            "--events=false",
        ])
        .arg(format!("--kubeconfig={}", cluster.kubeconfig_inside()))
        .arg("--config")
        .arg(settings)
        .stdout(Stdio::null());
    Ok(command)
}

/// A line of `/proc/<pid>/status`, in bytes.
fn memory(process: u32, what: &str) -> anyhow::Result<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(what));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    Ok(kilobytes.context("no such line")?.parse::<usize>()? << 10)
}
