//! `reload`: the time of a reload of many hosts, and the connections that it costs.
//!
//! Exits with 0 when all was measured, 1 when `--check` found a load slower than the
//! limit or a connection closed, 2 when something could not be measured.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use portcullis_load_tests::{
    compare::check_writable,
    reload::{ReloadSettings, measure},
};

/// Measures reloads of a configuration with many hosts.
#[derive(Debug, Parser)]
#[command(name = "reload")]
struct Arguments {
    /// Hosts, each with a route, two rules and a backend of its own.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    hosts: u32,
    /// Connections that are held open through all rounds.
    #[arg(long, default_value_t = 200)]
    connections: u16,
    /// Reloads.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Keep everything in this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 when the median load takes more milliseconds than this, or a
    /// connection was closed.
    #[arg(long, value_name = "MILLISECONDS")]
    check: Option<f64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("reload: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(file) = &arguments.json {
        check_writable(file)?;
    }
    let report = measure(ReloadSettings {
        hosts: arguments.hosts as usize,
        connections: usize::from(arguments.connections),
        rounds: usize::from(arguments.rounds),
    })
    .await?;
    println!("{report}");
    if let Some(file) = &arguments.json {
        let mut json = serde_json::to_string_pretty(&report).context("serialising the report")?;
        json.push('\n');
        fs::write(file, json).with_context(|| format!("writing {file:?}"))?;
    }
    let Some(limit) = arguments.check else {
        return Ok(ExitCode::SUCCESS);
    };
    if report.load_ms.median > limit || report.closed > 0 {
        eprintln!(
            "reload: {:.1} ms for a load, {limit} allowed; {} connections closed, none allowed",
            report.load_ms.median, report.closed
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
