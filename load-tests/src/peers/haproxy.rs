//! HAProxy: the other proxy that clusters come from.
//!
//! One thread, keep-alive on both sides, the usual forwarding headers. No access
//! log: HAProxy writes none to files, and its way to a log is a datagram for each
//! request, which is another measurement.

use std::{path::PathBuf, process::Command};

use super::{Place, Template, version_of, write_config};
use crate::programs;

/// The configuration, with placeholders.
pub(super) const TEMPLATE: Template = Template {
    text: include_str!("../../configs/haproxy.cfg"),
    upstream_tls: " ssl verify required ca-file {authority} sni str({name}) verifyhost {name}",
};

/// Finds HAProxy.
///
/// # Errors
///
/// When it is not installed.
pub fn program() -> anyhow::Result<PathBuf> {
    programs::system("haproxy", "haproxy")
}

/// Asks HAProxy for its version.
///
/// # Errors
///
/// When it is not installed or does not answer.
pub fn version() -> anyhow::Result<String> {
    let line = version_of(&program()?, "-v", "HAProxy version ")?;
    // The version, a date, and where to read about it.
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

/// Returns the command that starts HAProxy in the foreground.
///
/// # Errors
///
/// When it is not installed or the configuration cannot be written.
pub fn command(place: &Place<'_>) -> anyhow::Result<Command> {
    let config = write_config(place, "haproxy.cfg", TEMPLATE)?;
    let mut command = Command::new(program()?);
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}
