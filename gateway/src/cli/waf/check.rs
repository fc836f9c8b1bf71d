//! `portcullis waf check`.

use std::{io::Write, process::ExitCode};

use portcullis_waf::RuleError;

use super::{CheckArgs, rules::sources};
use crate::snapshot::{Reads, RuleProblems, compile_rules};

/// Reads rules and prints every problem and every warning, each with its place.
pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let errors = match compile_rules(&sources(&args.rules), &Reads::default()) {
        Ok(set) => {
            for warning in set.warnings() {
                writeln!(out, "{}", line("warning", warning))?;
            }
            if !args.quiet {
                let (rules, exclusions) = (set.len(), set.exclusions().len());
                let signatures = match set.signatures() {
                    [] => String::new(),
                    all => format!(", of {}", all.join(" and ")),
                };
                writeln!(
                    out,
                    "ok: {rules} rules{signatures}, {} warnings, {exclusions} exclusions, sha256 {}",
                    set.warnings().len(),
                    set.hash(),
                )?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Err(RuleProblems::Unreadable(problems)) => {
            for problem in &problems {
                writeln!(out, "error: {problem}")?;
            }
            problems.len()
        }
        Err(RuleProblems::Wrong(problems)) => {
            for problem in &problems {
                writeln!(out, "{}", line("error", problem))?;
            }
            problems.len()
        }
    };
    let noun = if errors == 1 { "error" } else { "errors" };
    writeln!(out, "{errors} {noun}")?;
    Ok(ExitCode::FAILURE)
}

/// A problem with its place, as compilers write it.
pub(super) fn line(severity: &str, problem: &RuleError) -> String {
    let hint = problem
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!(" ({hint})"));
    format!(
        "{}:{}:{}: {severity}: {}{hint}",
        problem.file, problem.line, problem.column, problem.message
    )
}
