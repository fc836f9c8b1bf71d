//! Rounds of all engines, and the table that comes of them.

use std::{fmt, fs::File, io::BufWriter, path::Path};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::{
    engine::{Driver, Engine, Told},
    rules::Crs,
    workload::{self, Scenario},
};
use crate::{
    machine::Machine,
    stats::{Spread, rotated},
};

/// What to run.
#[derive(Clone, Debug)]
pub struct WafSettings {
    /// Who is measured.
    pub engines: Vec<Engine>,
    /// Rounds; in each, every engine is measured once.
    pub rounds: usize,
    /// Seconds of CPU time for each scenario in a round.
    pub seconds: f64,
}

/// What the rounds gave.
#[derive(Clone, Debug, Serialize)]
pub struct WafReport {
    /// When it was made, RFC 3339.
    pub recorded_at: String,
    /// On which machine.
    pub machine: Machine,
    /// Whether our engine was built with optimisation.
    pub optimised: bool,
    /// Rounds.
    pub rounds: usize,
    /// By scenario.
    pub scenarios: Vec<ScenarioReport>,
}

/// One scenario.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Times less CPU than libmodsecurity that are aimed at.
    pub target: f64,
    /// By engine.
    pub engines: Vec<EngineReport>,
}

/// One engine in one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct EngineReport {
    /// Which.
    pub engine: Engine,
    /// Microseconds of CPU time for each request.
    pub cpu_us: Spread,
    /// How often the time of ours goes into it, within a round.
    pub times_ours: Option<Spread>,
    /// Requests that it refused, of how many.
    pub stopped: (u32, u32),
    /// Milliseconds of CPU time of loading the rules.
    pub load_ms: f64,
    /// Of each round.
    pub samples: Vec<f64>,
}

/// Runs the rounds.
///
/// # Errors
/// When an engine cannot be prepared or fails.
pub fn measure(settings: &WafSettings, crs: &Crs) -> anyhow::Result<WafReport> {
    let machine = Machine::read();
    let folder = tempfile::tempdir().context("creating a temporary folder")?;
    let scenarios = workload::scenarios();
    let workload = folder.path().join("workload");
    write(&scenarios, &workload)?;
    let mut drivers = Vec::new();
    for engine in &settings.engines {
        eprintln!("preparing {}", engine.name());
        drivers.push(engine.prepare(crs, folder.path())?);
    }
    let mut told: Vec<(Engine, Vec<Told>)> = Vec::new();
    for round in 0..settings.rounds {
        let order: Vec<&Driver> = drivers.iter().collect();
        for driver in rotated(&order, round) {
            let results = driver.run(&workload, settings.seconds)?;
            ensure!(results.len() == scenarios.len(), "a driver told too little");
            eprintln!(
                "{}/{}: {}",
                round + 1,
                settings.rounds,
                driver.engine.name()
            );
            told.push((driver.engine, results));
        }
    }
    let scenarios = scenarios.iter().enumerate();
    Ok(WafReport {
        recorded_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        machine,
        optimised: !cfg!(debug_assertions),
        rounds: settings.rounds,
        scenarios: scenarios
            .map(|(index, scenario)| report(scenario, index, &settings.engines, &told))
            .collect(),
    })
}

pub(super) fn write(scenarios: &[Scenario], file: &Path) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(file).context("writing the workload")?);
    workload::write(scenarios, &mut out).context("writing the workload")
}

fn report(
    scenario: &Scenario,
    index: usize,
    engines: &[Engine],
    told: &[(Engine, Vec<Told>)],
) -> ScenarioReport {
    let of = |engine: Engine| {
        let results = told.iter().filter(move |(by, _)| *by == engine);
        results.map(move |(_, results)| &results[index])
    };
    let times = |engine| {
        of(engine)
            .map(|told| told.cpu_seconds * 1e6 / told.requests as f64)
            .collect::<Vec<_>>()
    };
    let ours = times(Engine::Portcullis);
    let engines = engines.iter().filter_map(|&engine| {
        let samples = times(engine);
        let last = of(engine).next_back()?;
        Some(EngineReport {
            engine,
            cpu_us: Spread::of(&samples)?,
            times_ours: (engine != Engine::Portcullis)
                .then(|| Spread::of_ratios(&samples, &ours))
                .flatten(),
            stopped: (last.stopped, last.of),
            load_ms: last.load_seconds * 1e3,
            samples,
        })
    });
    ScenarioReport {
        name: scenario.name,
        what: scenario.what,
        target: scenario.target,
        engines: engines.collect(),
    }
}

impl fmt::Display for WafReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.optimised {
            writeln!(f, "Built without optimisation: these numbers mean nothing.")?;
        }
        writeln!(
            f,
            "| scenario | engine | CPU us per request | times ours (aim) | refused | load ms |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        for scenario in &self.scenarios {
            for engine in &scenario.engines {
                let Spread { median, min, max } = engine.cpu_us;
                let times = match (engine.times_ours, engine.engine) {
                    (Some(times), Engine::Libmodsecurity) => {
                        format!("{:.1} ({:.0})", times.median, scenario.target)
                    }
                    (Some(times), _) => format!("{:.1} (10)", times.median),
                    (None, _) => String::new(),
                };
                let (stopped, of) = engine.stopped;
                writeln!(
                    f,
                    "| {} | {} | {median:.1} ({min:.1}-{max:.1}) | {times} | {stopped} of {of} | {:.0} |",
                    scenario.name,
                    engine.engine.name(),
                    engine.load_ms
                )?;
            }
        }
        Ok(())
    }
}
