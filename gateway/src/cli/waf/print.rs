//! What rules made of a request, for a person.

use std::io::{self, Write};

use portcullis_waf::{AuditRecord, Interruption, InterruptionAction, Match, RuleSet};

/// Prints a record.
pub(super) fn record(
    out: &mut impl Write,
    judge: &str,
    rules: &RuleSet,
    record: &AuditRecord,
) -> io::Result<()> {
    writeln!(out, "verdict: {}", verdict(record))?;
    let threshold = |threshold: Option<i64>| {
        threshold.map_or(String::new(), |threshold| {
            format!(" (refused from {threshold} on)")
        })
    };
    writeln!(
        out,
        "score: {} inbound{}, {} outbound{}",
        record.inbound_anomaly_score,
        threshold(record.level.inbound_threshold),
        record.outbound_anomaly_score,
        threshold(record.level.outbound_threshold),
    )?;
    let level = record.level.paranoia;
    let level = level.map_or(String::new(), |level| format!(", paranoia level {level}"));
    writeln!(out, "rules: {judge}: {} rules{level}", rules.len())?;
    for noted in &record.not_inspected {
        writeln!(
            out,
            "not inspected: {}, {}",
            noted.part.name(),
            noted.reason.name()
        )?;
    }
    writeln!(
        out,
        "matches: {}",
        record.matches.len() + record.matches_dropped
    )?;
    for found in &record.matches {
        one(out, found)?;
    }
    if record.matches_dropped > 0 {
        writeln!(
            out,
            "  and {} more, which are not told",
            record.matches_dropped
        )?;
    }
    Ok(())
}

fn verdict(record: &AuditRecord) -> String {
    match (&record.interruption, &record.would_interrupt) {
        (Some(stop), _) => stopped("refused", stop),
        (None, Some(stop)) => format!(
            "pass, since only detecting; when blocking, {}",
            stopped("refused", stop)
        ),
        (None, None) => "pass".to_owned(),
    }
}

fn stopped(how: &str, stop: &Interruption) -> String {
    let answer = match &stop.action {
        InterruptionAction::Deny => format!("{how} with {}", stop.status),
        InterruptionAction::Drop => "the connection is closed".to_owned(),
        InterruptionAction::Redirect(location) => {
            format!("redirected with {} to {location}", stop.status)
        }
    };
    let by = match stop.rule {
        Some(rule) => format!("by rule {rule}"),
        None => "by a limit of the engine".to_owned(),
    };
    let message = match stop.message.as_str() {
        "" => String::new(),
        message => format!(": {message}"),
    };
    format!("{answer} {by} in phase {}{message}", stop.phase)
}

fn one(out: &mut impl Write, found: &Match) -> io::Result<()> {
    let id = found.rule.map_or("-".to_owned(), |id| id.to_string());
    let score = match found.score {
        0 => String::new(),
        score => format!("  score {score:+}"),
    };
    writeln!(
        out,
        "\n  {id}  {}{score}  phase {}",
        found.message, found.phase
    )?;
    writeln!(out, "    rule:  {}:{}", found.file, found.line)?;
    for one in &found.found {
        writeln!(out, "    found: {} = {:?}", one.variable, Plain(&one.value))?;
    }
    if found.found_dropped > 0 {
        writeln!(out, "    found: and {} more", found.found_dropped)?;
    }
    let after = match found.transformations.as_slice() {
        [] => String::new(),
        all => format!("  after {}", all.join(", ")),
    };
    if !found.operator.is_empty() {
        writeln!(out, "    why:   {}{after}", found.operator)?;
    }
    Ok(())
}

/// A text in quotes. It is escaped already, and must not be a second time.
struct Plain<'a>(&'a str);

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}
