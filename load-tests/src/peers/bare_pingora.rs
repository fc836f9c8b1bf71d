//! bare-pingora: the floor, a proxy of this crate with pingora's defaults.

use std::{path::PathBuf, process::Command};

use super::Place;
use crate::{certificate, programs};

/// The version that the workspace pins; pingora has no constant for it.
const PINGORA: &str = "0.9.1";

/// Finds bare-pingora.
///
/// # Errors
///
/// When it has not been built.
pub fn program() -> anyhow::Result<PathBuf> {
    programs::built("bare-pingora", "portcullis-load-tests")
}

/// Returns the version of pingora it is built on.
pub fn version() -> String {
    PINGORA.to_owned()
}

/// Returns the command that starts bare-pingora.
///
/// # Errors
///
/// When it has not been built.
pub fn command(place: &Place<'_>) -> anyhow::Result<Command> {
    let mut command = Command::new(program()?);
    command.args(["--listen", &place.listen.to_string()]);
    command.args(["--listen-tls", &place.listen_tls.to_string()]);
    command.arg("--certificate").arg(&place.certificate.chain);
    command.arg("--key").arg(&place.certificate.key);
    command.args(["--upstream", &place.upstream.address.to_string()]);
    if place.upstream.tls {
        command
            .arg("--upstream-authority")
            .arg(&place.certificate.authority);
        command.args(["--upstream-name", certificate::NAME]);
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_told_is_the_one_that_the_workspace_pins() {
        let manifest = include_str!("../../../Cargo.toml");
        let pin = format!("pingora = {{ version = \"={PINGORA}\"");
        assert!(manifest.contains(&pin), "{pin}");
    }
}
