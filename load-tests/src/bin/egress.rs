//! `egress`: what tunnels cost in Portcullis, squid and tinyproxy.
//!
//! Exits with 0 when all was measured, 1 when `--check` found a target missed, 2 when something
//! could not be measured.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Parser;
use portcullis_load_tests::{
    compare::check_writable,
    egress::{Bulk, Connect, Idle, Proxy, Report, Scenario, Settings, Target},
    machine::Machine,
    stats::rotated,
};
use tokio::signal::unix::{SignalKind, signal};

/// Measures what tunnels cost in Portcullis, squid and tinyproxy, side by side.
#[derive(Debug, Parser)]
#[command(name = "egress")]
struct Arguments {
    /// Rounds; in each, every proxy is measured once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of opening tunnels.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// GiB through a tunnel, each way.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    gib: u16,
    /// Numbers of idle tunnels, as a list with commas.
    #[arg(long, value_delimiter = ',', default_values_t = [2000, 4000, 8000])]
    tunnels: Vec<usize>,
    /// What is measured, as a list with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::ALL)]
    scenario: Vec<Scenario>,
    /// Who is measured, as a list with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Proxy::ALL)]
    proxies: Vec<Proxy>,
    /// Keep everything in this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 when a target is missed, or was not measured.
    #[arg(long)]
    check: bool,
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
            eprintln!("egress: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut tunnels = arguments.tunnels.clone();
    tunnels.sort_unstable();
    tunnels.dedup();
    ensure!(
        tunnels.len() > 1,
        "--tunnels needs two numbers: it is a slope that is told"
    );
    let settings = Settings {
        rounds: usize::from(arguments.rounds),
        seconds: u64::from(arguments.seconds),
        gib: u64::from(arguments.gib),
        tunnels,
    };
    settings.raise_descriptors()?;
    if let Some(file) = &arguments.json {
        check_writable(file)?;
    }
    let machine = Machine::read();
    if machine.is_busy() {
        let load = machine.load_average;
        eprintln!("egress: the machine is busy (load average {load}); ranges will be wide");
    }
    // In the order of the tables, each once, however they were given.
    let given = |proxy: &Proxy| arguments.proxies.contains(proxy);
    let proxies: Vec<Proxy> = Proxy::ALL.into_iter().filter(given).collect();
    let versions = proxies.iter().map(|proxy| Ok((*proxy, proxy.version()?)));
    let versions = versions.collect::<anyhow::Result<_>>()?;
    let mut report = Report::new(settings, machine, versions);
    let target = Target::start()?;
    let given = |scenario: &Scenario| arguments.scenario.contains(scenario);
    for round in 0..report.settings.rounds {
        for scenario in Scenario::ALL.into_iter().filter(given) {
            let order: Vec<usize> = (0..proxies.len()).collect();
            for index in rotated(&order, round) {
                let name = proxies[index].name();
                measure(&mut report, index, scenario, target)
                    .await
                    .with_context(|| format!("{name}, {scenario:?}, round {}", round + 1))?;
            }
        }
    }
    println!("{report}");
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report).context("serialising the report")?;
        fs::write(file, json + "\n").with_context(|| format!("writing {file:?}"))?;
    }
    let missed = report.missed();
    let (false, true) = (missed.is_empty(), arguments.check) else {
        return Ok(ExitCode::SUCCESS);
    };
    for missed in missed {
        eprintln!("egress: missed: {missed}");
    }
    Ok(ExitCode::FAILURE)
}

/// Measures one proxy once, in a folder of its own, and tells it.
async fn measure(
    report: &mut Report,
    index: usize,
    scenario: Scenario,
    target: Target,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("creating a temporary folder")?;
    let settings = report.settings.clone();
    let (address, place) = (target.address(), folder.path());
    let proxy = &mut report.proxies[index];
    let name = proxy.proxy.name();
    match scenario {
        Scenario::Connect => {
            let sample = Connect::measure(proxy.proxy, address, settings.seconds, place).await?;
            eprintln!(
                "{name:12} {:.1} us per CONNECT, {:.0}/s",
                sample.cpu_us, sample.per_second
            );
            proxy.connect.push(sample);
        }
        Scenario::Bulk => {
            let sample = Bulk::measure(proxy.proxy, address, settings.gib, place).await?;
            for (way, flow) in [("down", sample.down), ("up", sample.up)] {
                let (cpu, rate) = (flow.cpu_seconds_per_gib, flow.gib_per_second);
                eprintln!("{name:12} {cpu:.3} s per GiB {way}, {rate:.2} GiB/s");
            }
            proxy.bulk.push(sample);
        }
        Scenario::Idle => {
            let sample = Idle::measure(proxy.proxy, address, &settings.tunnels, place).await?;
            eprintln!(
                "{name:12} {:.0} bytes per idle tunnel",
                sample.bytes_per_tunnel
            );
            proxy.idle.push(sample);
        }
    }
    Ok(())
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
