//! `waf`: CPU time per inspected request, of our engine and its peers.
//!
//! Exits with 0 when all was measured, 2 when something could not be.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use portcullis_load_tests::{
    compare::check_writable,
    waf::{
        engine::Engine,
        growth::growth,
        measure::{WafSettings, measure},
        rules::Crs,
    },
};
use serde::Serialize;

/// Measures what inspecting a request costs with the OWASP Core Rule Set, by engine.
#[derive(Debug, Parser)]
#[command(name = "waf")]
struct Arguments {
    /// Folder of CRS, with `crs-setup.conf.example` and `rules`.
    #[arg(long, env = "PORTCULLIS_CRS", value_name = "FOLDER")]
    crs: PathBuf,
    /// Rounds; in each, every engine is measured once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of CPU time for each scenario in a round.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Who is measured, as a list with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Engine::ALL)]
    engines: Vec<Engine>,
    /// Tell instead how the cost of ours grows with arguments and bytes.
    #[arg(long)]
    growth: bool,
    /// Keep everything in this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waf: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(file) = &arguments.json {
        check_writable(file)?;
    }
    let crs = Crs::at(&arguments.crs)?;
    if arguments.growth {
        let report = growth(&crs, arguments.seconds)?;
        println!("{report}");
        return keep(&report, arguments);
    }
    let settings = WafSettings {
        engines: arguments.engines.clone(),
        rounds: usize::from(arguments.rounds),
        seconds: arguments.seconds,
    };
    let report = measure(&settings, &crs)?;
    println!("{report}");
    keep(&report, arguments)
}

fn keep(report: &impl Serialize, arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(file) = &arguments.json {
        let mut json = serde_json::to_string_pretty(report).context("serialising the report")?;
        json.push('\n');
        fs::write(file, json).with_context(|| format!("writing {file:?}"))?;
    }
    Ok(())
}
