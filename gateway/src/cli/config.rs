//! A configuration that a command reads and does not run.

use std::{path::PathBuf, sync::Arc};

use portcullis_config::problem::Severity;

use crate::{
    files::ConfigFiles,
    load::{self, Loaded},
    snapshot::{Live, Snapshot},
    source::{Objects, Source},
    telemetry::Metrics,
};

/// Reads a configuration as `run` would.
///
/// # Errors
/// Every problem, where it would be refused.
pub(super) fn load(paths: &[PathBuf]) -> anyhow::Result<Snapshot> {
    Ok(load_with_places(paths, None)?.snapshot)
}

/// The same with objects, and with where everything stands.
///
/// # Errors
/// Every problem, where it would be refused.
pub(super) fn load_with_places(
    paths: &[PathBuf],
    objects: Option<Arc<dyn Objects>>,
) -> anyhow::Result<Loaded> {
    let source = Source::new(ConfigFiles::new(paths.to_vec()), objects);
    match load::load(&source, &Live::default(), &Metrics::new(), None) {
        Ok(loaded) => Ok(loaded),
        Err(refused) => {
            let errors = refused.problems.iter();
            let errors = errors.filter(|problem| problem.severity == Severity::Error);
            let lines: Vec<String> = errors.map(ToString::to_string).collect();
            anyhow::bail!("the configuration is refused\n{}", lines.join("\n"))
        }
    }
}
