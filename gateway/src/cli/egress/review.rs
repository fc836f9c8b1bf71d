//! `portcullis egress review`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use portcullis_config::document::Timestamp;
use serde_json::json;

use super::logs::read_files;
use crate::{
    cli::config::load,
    egress_tools::{EntryReview, LineCounts, List, Review, Usage},
};

#[derive(Args, Debug)]
pub(super) struct ReviewArgs {
    /// Audit logs, in JSON lines; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Configuration file or folder; may be given more than once.
    #[arg(long, short, required = true, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Days back from now that are looked at.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: u64,
    /// When now is, as 2026-12-01T18:00:00Z. Default: the clock.
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
    /// Exit with 1 when something is not used or has ended.
    #[arg(long)]
    fail: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Prints what nobody uses.
pub(super) fn review(args: &ReviewArgs) -> anyhow::Result<ExitCode> {
    let snapshot = load(&args.config)?;
    let egress = snapshot.model.egress.as_ref();
    let egress = egress.context("the configuration has no section `egress`")?;
    let floors = egress.cluster_policies.iter();
    let policies = floors.chain(egress.policies.iter()).collect();
    let now = args.now.map_or_else(SystemTime::now, |now| now.0);
    let mut usage = Usage::new(policies, now, args.days);
    let mut counts = LineCounts::default();
    read_files(&args.files, &mut counts, |record| {
        usage.add(&record);
        Ok(())
    })?;
    let review = usage.review();
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => {
            let mut told = serde_json::to_value(&review)?;
            if let Some(fields) = told.as_object_mut() {
                let lines = json!({
                    "records": counts.records, "others": counts.others,
                    "tooLong": counts.too_long, "unusable": counts.unusable,
                    "firstUnusable": counts.first_unusable,
                });
                fields.insert("lines".to_owned(), lines);
            }
            writeln!(out, "{told:#}")?;
        }
        Output::Text => print(&mut out, &review, &counts)?,
    }
    Ok(if args.fail && !review.policies.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(out: &mut impl Write, review: &Review, counts: &LineCounts) -> io::Result<()> {
    match (review.log_from, review.log_to) {
        (Some(from), Some(to)) => writeln!(out, "the log reaches from {from} to {to}")?,
        _ => writeln!(out, "the log has no egress record until {}", review.now)?,
    }
    let passed_over = counts.others + counts.too_long + counts.unusable;
    writeln!(
        out,
        "{} egress records, {passed_over} other lines; looked at: {} days until {}",
        counts.records, review.days, review.now
    )?;
    if let Some(first) = &counts.first_unusable {
        writeln!(
            out,
            "warning: {} records cannot be used, as {first:?}",
            counts.unusable
        )?;
    }
    for warning in &review.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for name in &review.unknown_policies {
        writeln!(
            out,
            "note: the log names the policy {name:?}, which the configuration does not have"
        )?;
    }
    for policy in &review.policies {
        writeln!(out, "\npolicy {}", policy.name)?;
        if policy.unnamed {
            writeln!(out, "  no record names it: it selects nobody who asks")?;
        }
        if policy.allow_all_unused {
            writeln!(out, "  allowAll: unused")?;
        }
        for entry in &policy.entries {
            print_entry(out, entry)?;
        }
    }
    if review.policies.is_empty() {
        writeln!(out, "\neverything is used")?;
    }
    Ok(())
}

fn print_entry(out: &mut impl Write, entry: &EntryReview) -> io::Result<()> {
    let list = match entry.list {
        List::Allow => "allow",
        List::Deny => "deny",
    };
    let ports: Vec<String> = entry.ports.iter().map(u16::to_string).collect();
    let ports = match ports.as_slice() {
        [] => "every port".to_owned(),
        ports => ports.join(", "),
    };
    let mut what = Vec::new();
    if let Some(until) = entry.ended {
        what.push(format!("ended {until}"));
    }
    if entry.unused {
        what.push("unused".to_owned());
    }
    let index = entry.index;
    let what = what.join(", ");
    writeln!(out, "  {list}[{index}] {} ({ports}): {what}", entry.rule)
}
