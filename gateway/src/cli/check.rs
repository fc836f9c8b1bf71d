//! `portcullis check`.

use std::{io::Write, process::ExitCode};

use portcullis_config::problem::Severity;

use super::{CheckArgs, config_paths};
use crate::{files::ConfigFiles, load, snapshot::Live, source::Source, telemetry::Metrics};

/// Reads a configuration as `run` would, files that it names included, and
/// prints every problem. Nothing is bound.
pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let files = ConfigFiles::new(config_paths(&args.paths, &args.config));
    let source = Source::new(files, args.manifests.objects()?);
    let (problems, summary) = match load::load(&source, &Live::default(), &Metrics::new(), None) {
        Ok(loaded) => {
            let model = &loaded.snapshot.model;
            let summary = format!(
                "ok: {} listeners, {} routes, {} backends, {} certificates, {} egress policies",
                model.listeners.len(),
                model.routes.len(),
                model.backends.len(),
                model.certificates.len(),
                model
                    .egress
                    .as_ref()
                    .map_or(0, |egress| egress.policies.len()),
            );
            (loaded.problems, summary)
        }
        Err(refused) => (refused.problems, String::new()),
    };
    let mut out = std::io::stdout().lock();
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    if errors > 0 {
        writeln!(
            out,
            "{errors} {}",
            if errors == 1 { "error" } else { "errors" }
        )?;
        return Ok(ExitCode::FAILURE);
    }
    if !args.quiet {
        writeln!(out, "{summary}")?;
    }
    Ok(ExitCode::SUCCESS)
}
