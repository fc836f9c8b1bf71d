//! `portcullis explain`: why a request was refused, and the narrowest exclusion that would
//! let it pass.

mod exclusion;
mod name;
mod record;
#[cfg(test)]
mod round_trip;

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use self::{
    exclusion::{Proposal, propose},
    record::WafRecord,
};
use super::admin;

/// Where the admin listener is, unless a configuration says otherwise.
const ADMIN: &str = "http://127.0.0.1:9091";

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// The id in the answer: its page, or the header `x-request-id`.
    #[arg(value_name = "REQUEST-ID")]
    request_id: String,
    /// Audit log to look in, in place of a running gateway.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    audit: Option<PathBuf>,
    /// Admin listener of the gateway: an address or `unix:/path`. Default `http://127.0.0.1:9091`.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints why a request was refused.
pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let id = &args.request_id;
    if id.is_empty()
        || !id
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
    {
        bail!("{id:?} is no request id");
    }
    let line = match &args.audit {
        Some(path) => from_file(path, id)?,
        None => from_admin(args.admin.as_deref().unwrap_or(ADMIN), id)?,
    };
    let profile = line["profile"].as_str().unwrap_or_default().to_owned();
    let waf: WafRecord = serde_json::from_value(line["waf"].clone())
        .context("the audit record is not one of this version")?;
    let proposal = propose(&waf);
    let mut out = std::io::stdout().lock();
    if args.json {
        let (exclusion, reason) = match &proposal {
            Ok(proposal) => (Some(proposal), None),
            Err(reason) => (None, Some(reason)),
        };
        let told = json!({ "exclusion": exclusion, "noExclusion": reason, "record": line });
        writeln!(out, "{told:#}")?;
    } else {
        print(&mut out, &line, &profile, &waf, &proposal)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds the record of a request in a file. Lines that are something else are passed over:
/// access log and audit log may share one.
fn from_file(path: &Path, id: &str) -> anyhow::Result<Value> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut found = None;
    loop {
        line.clear();
        let read = reader
            .read_until(b'\n', &mut line)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        if read == 0 {
            break;
        }
        if memchr::memmem::find(&line, id.as_bytes()).is_some()
            && let Ok(record) = serde_json::from_slice::<Value>(&line)
            && is_meant(&record, id)
        {
            found = Some(record);
        }
    }
    found.with_context(|| {
        format!(
            "{} has no record of a WAF for the request {id}. A request that no rule has matched has none; the access log says who refused it",
            path.display()
        )
    })
}

fn from_admin(url: &str, id: &str) -> anyhow::Result<Value> {
    let records = admin::get(url, &format!("/audit/{id}"))?.unwrap_or_default();
    let mut records = records.as_array().into_iter().flatten();
    let found = records.find(|record| is_meant(record, id)).cloned();
    found.with_context(|| {
        format!(
            "the gateway at {url} knows no record of a WAF for the request {id}. It keeps the last ones only (admin.auditRecords); look in the audit log with --audit FILE"
        )
    })
}

fn is_meant(record: &Value, id: &str) -> bool {
    record["requestId"] == id && record["kind"] == "waf"
}

fn print(
    out: &mut impl Write,
    line: &Value,
    profile: &str,
    waf: &WafRecord,
    proposal: &Result<Proposal, String>,
) -> anyhow::Result<()> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let transaction = &line["transaction"];
    writeln!(
        out,
        "{} {} from {}, {}",
        text(&transaction["request"]["method"]),
        text(&transaction["request"]["uri"]),
        text(&transaction["client_ip"]),
        text(&line["time"]),
    )?;
    let stop = waf.interruption.as_ref().or(waf.would_interrupt.as_ref());
    match stop {
        None => writeln!(out, "passed")?,
        Some(stop) => {
            let how = match waf.interruption {
                Some(_) => "refused",
                None => "passed, since the profile only detects; blocking, it would be refused",
            };
            let by = stop
                .rule
                .map_or("a limit of the engine".to_owned(), |rule| {
                    format!("rule {rule}")
                });
            writeln!(out, "{how} with {} by {by}: {}", stop.status, stop.message)?;
        }
    }
    writeln!(out, "profile {profile}, rule {}\n", waf.rule)?;
    for found in &waf.matches {
        let id = found.rule.map_or("-".to_owned(), |id| id.to_string());
        writeln!(out, "  {id}  {}  score {}", found.message, found.score)?;
        for one in &found.found {
            writeln!(out, "    {} = \"{}\"", one.variable, one.value)?;
        }
        writeln!(out, "    {}", found.operator)?;
    }
    writeln!(out)?;
    match proposal {
        Err(reason) => writeln!(out, "{reason}")?,
        Ok(proposal) => {
            writeln!(
                out,
                "If this request is in order, this lets it pass, and takes away no more than that needs. It belongs\nin front of the other rules of the profile {profile:?}, as its first `inline` or in the first file:\n"
            )?;
            writeln!(out, "{}", proposal.seclang)?;
            for note in &proposal.notes {
                writeln!(out, "note: {note}")?;
            }
        }
    }
    Ok(())
}
