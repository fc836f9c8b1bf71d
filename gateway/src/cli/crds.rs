//! `portcullis crds`: the CustomResourceDefinitions of the kinds that are ours.

use std::{io::Write, process::ExitCode};

use crate::kube::definitions;

/// Prints them as YAML.
pub(super) fn crds() -> anyhow::Result<ExitCode> {
    let text = super::yaml::documents(&definitions())?;
    write!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
