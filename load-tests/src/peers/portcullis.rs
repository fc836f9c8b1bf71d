//! Portcullis with its ordinary policies on: access list, rate limit, body size
//! limit, access log and metrics. The WAF is off: rules are another measurement.

use std::{path::PathBuf, process::Command};

use super::{Place, write_config};
use crate::programs;

/// The configuration, with placeholders.
pub const TEMPLATE: &str = include_str!("../../configs/portcullis.yaml");

/// Finds the portcullis binary beside this one.
///
/// # Errors
///
/// When it has not been built.
pub fn program() -> anyhow::Result<PathBuf> {
    programs::built("portcullis", "portcullis")
}

/// Returns the command that starts Portcullis on one worker thread.
///
/// # Errors
///
/// When it has not been built or the configuration cannot be written.
pub fn command(place: &Place<'_>) -> anyhow::Result<Command> {
    let config = write_config(place, "portcullis.yaml", TEMPLATE)?;
    let mut command = Command::new(program()?);
    command.args(["run", "--threads", "1", "--config"]);
    command.arg(config);
    Ok(command)
}
