//! `portcullis schema`.

use std::{io::Write, process::ExitCode};

/// Prints the JSON Schema of the configuration document.
pub(super) fn schema() -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&portcullis_config::read::schema())?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
