//! `compare`: CPU time per request of Portcullis and its peers.
//!
//! Exits with 0 when all was measured, 1 when `--check` found Portcullis above
//! the limit, 2 when something could not be measured.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Parser;
use portcullis_load_tests::{
    bench::Bench,
    compare::{Settings, check_writable},
    machine::Machine,
    peers::Peer,
    profile::Profiler,
    report::{Report, ScenarioReport},
    scenario::Scenario,
};
use tokio::signal::unix::{SignalKind, signal};

/// Measures the CPU time per request of Portcullis and its peers, side by side.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Arguments {
    /// Rounds; in each, every peer is measured once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// What is sent, as a list with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::ALL)]
    scenario: Vec<Scenario>,
    /// Who is measured, as a list with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// Keep everything in this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 when the median of portcullis / bare-pingora is above this.
    #[arg(long, value_name = "RATIO")]
    check: Option<f64>,
    /// After the rounds, sample Portcullis under load with perf, and tell the
    /// functions with most samples. The data stays in perf.data.`<scenario>`.
    #[arg(long)]
    profile: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = tokio::select! {
        result = run(&arguments) => result,
        // Dropping `run` stops every process it started.
        result = interrupted() => result,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = settings(arguments)?;
    let profiler = arguments.profile.then(Profiler::new).transpose()?;
    if profiler.is_some() {
        Peer::Portcullis.program()?;
    }
    if let Some(file) = &arguments.json {
        check_writable(file)?;
    }
    let machine = Machine::read();
    if machine.is_busy() {
        let load = machine.load_average;
        eprintln!("compare: the machine is busy (load average {load}); ranges will be wide");
    }
    let bench = Bench::start(&settings.peers, &settings.scenarios).await?;
    let versions = versions(&settings.peers)?;
    let mut report = Report::new(&settings, machine);
    for scenario in &settings.scenarios {
        let samples = bench.compare(&settings, *scenario).await?;
        let mut scenario_report = ScenarioReport::new(&versions, samples);
        if let Some(profiler) = &profiler {
            let data = PathBuf::from(format!("perf.data.{}", scenario.word()));
            scenario_report.profile = bench
                .profile(
                    profiler,
                    Peer::Portcullis,
                    *scenario,
                    settings.duration,
                    &data,
                )
                .await
                .context("profiling portcullis")?;
        }
        report.scenarios.push(scenario_report);
    }
    println!("{report}");
    if let Some(file) = &arguments.json {
        write_json(file, &report)?;
    }
    Ok(verdict(&report, arguments.check))
}

async fn interrupted() -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    anyhow::bail!("interrupted");
}

fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    // In the order of the tables, each once, however they were given.
    let given = |peer: &Peer| arguments.peers.contains(peer);
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(given).collect();
    let given = |scenario: &Scenario| arguments.scenario.contains(scenario);
    let scenarios = Scenario::ALL.into_iter().filter(given).collect();
    ensure!(
        arguments.check.is_none()
            || (peers.contains(&Peer::Portcullis) && peers.contains(&Peer::BarePingora)),
        "--check needs both portcullis and bare-pingora among --peers"
    );
    Ok(Settings {
        rounds: usize::from(arguments.rounds),
        duration: Duration::from_secs(u64::from(arguments.seconds)),
        scenarios,
        peers,
    })
}

fn versions(peers: &[Peer]) -> anyhow::Result<Vec<(Peer, String)>> {
    let versions = peers.iter().map(|peer| Ok((*peer, peer.version()?)));
    versions.collect()
}

fn write_json(file: &Path, report: &Report) -> anyhow::Result<()> {
    let mut json = serde_json::to_string_pretty(report).context("serialising the report")?;
    json.push('\n');
    fs::write(file, json).with_context(|| format!("writing {file:?}"))
}

fn verdict(report: &Report, limit: Option<f64>) -> ExitCode {
    let Some(limit) = limit else {
        return ExitCode::SUCCESS;
    };
    let above = report.scenarios_above(limit);
    for (scenario, median) in &above {
        eprintln!(
            "compare: {}: portcullis / bare-pingora is {median:.3}, above {limit}",
            scenario.title()
        );
    }
    if above.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
