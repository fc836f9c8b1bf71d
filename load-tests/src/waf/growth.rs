//! How the cost of a request grows with what is in it.

use std::fmt;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::{engine::Engine, measure::write, rules::Crs, workload};
use crate::machine::Machine;

/// What our engine is told beside the CRS, so that nothing is refused for its size.
const RAISED: &str = "SecArgumentsLimit 20000\nSecRequestBodyNoFilesLimit 16777216\n";

/// Costs by size.
#[derive(Clone, Debug, Serialize)]
pub struct GrowthReport {
    /// When it was made, RFC 3339.
    pub recorded_at: String,
    /// On which machine.
    pub machine: Machine,
    /// One for each size.
    pub rows: Vec<GrowthRow>,
}

/// The cost of one size.
#[derive(Clone, Debug, Serialize)]
pub struct GrowthRow {
    /// Name of the request.
    pub name: &'static str,
    /// How many there are, and of what.
    pub amount: usize,
    /// Of what.
    pub unit: &'static str,
    /// Microseconds of CPU time of the request.
    pub cpu_us: f64,
}

/// Measures our engine, `seconds` for each size.
///
/// # Errors
/// When the driver cannot be prepared or fails, or refuses a request.
pub fn growth(crs: &Crs, seconds: f64) -> anyhow::Result<GrowthReport> {
    let machine = Machine::read();
    let folder = tempfile::tempdir().context("creating a temporary folder")?;
    let (scenarios, amounts): (Vec<_>, Vec<_>) = workload::growing().into_iter().unzip();
    let workload = folder.path().join("workload");
    write(&scenarios, &workload)?;
    let driver = Engine::Portcullis.prepare_with(crs, folder.path(), RAISED)?;
    let told = driver.run(&workload, seconds)?;
    ensure!(told.len() == scenarios.len(), "the driver told too little");
    let rows = scenarios.iter().zip(amounts).zip(told);
    let rows = rows.map(|((scenario, amount), told)| {
        ensure!(told.stopped == 0, "{} is refused", scenario.name);
        Ok(GrowthRow {
            name: scenario.name,
            amount,
            unit: scenario.what,
            cpu_us: told.cpu_seconds * 1e6 / told.requests as f64,
        })
    });
    Ok(GrowthReport {
        recorded_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        machine,
        rows: rows.collect::<anyhow::Result<_>>()?,
    })
}

impl fmt::Display for GrowthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| request | CPU us | CPU us for each |")?;
        writeln!(f, "| --- | --- | --- |")?;
        for row in &self.rows {
            let each = row.cpu_us / row.amount as f64;
            writeln!(
                f,
                "| {} | {:.0} | {each:.2} per {} |",
                row.name, row.cpu_us, row.unit
            )?;
        }
        Ok(())
    }
}
