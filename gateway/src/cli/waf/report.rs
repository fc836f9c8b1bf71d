//! `portcullis waf report`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use portcullis_config::model::{BodyOverLimit, BuffersSpent};
use portcullis_waf::{
    AuditRecord, EngineMode, Exclusion, Level, RuleSet, Transaction, TransactionOptions,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::ReportArgs;
use crate::{
    cli::{admin, config::load},
    snapshot::{CompiledWaf, Snapshot},
};

/// One rule of a route.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    hosts: Vec<String>,
    rule: String,
    /// Nothing is inspected where there is none.
    waf: Option<Inspection>,
    /// What the running gateway has counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    profile: String,
    mode: EngineMode,
    level: Level,
    request_bodies: bool,
    response_bodies: bool,
    body_limit: u64,
    over_limit: BodyOverLimit,
    response_body_limit: u64,
    response_over_limit: BodyOverLimit,
    buffers_spent: BuffersSpent,
    /// Hash of its rule set.
    rules: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rules<'a> {
    count: usize,
    components: &'a [String],
    exclusions: &'a [Exclusion],
}

/// Tells what each rule of a route inspects, and what it leaves out.
pub(super) fn report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let snapshot = load(&args.config)?;
    let traffic = match &args.admin {
        Some(url) => Some(admin::get(url, "/waf/traffic")?.ok_or_else(|| {
            anyhow::anyhow!(
                "{url} knows no /waf/traffic: is it the admin listener of this version?"
            )
        })?),
        None => None,
    };
    let rows = rows(&snapshot, traffic.as_ref());
    let mut sets: BTreeMap<String, Arc<RuleSet>> = BTreeMap::new();
    for waf in wafs(&snapshot) {
        sets.insert(waf.rules.hash().to_owned(), Arc::clone(&waf.rules));
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let sets: BTreeMap<&str, Rules<'_>> = sets
            .iter()
            .map(|(hash, set)| (hash.as_str(), rules(set)))
            .collect();
        writeln!(out, "{:#}", json!({ "routes": rows, "rules": sets }))?;
    } else {
        for row in &rows {
            print_row(&mut out, row)?;
        }
        for (hash, set) in &sets {
            print_rules(&mut out, hash, &rules(set))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn wafs(snapshot: &Snapshot) -> impl Iterator<Item = &CompiledWaf> {
    let rules = snapshot.model.routes.iter().flat_map(|route| &route.rules);
    rules.filter_map(|(_, rule)| snapshot.rule(&rule.id)?.waf.as_ref())
}

fn rules(set: &RuleSet) -> Rules<'_> {
    Rules {
        count: set.len(),
        components: set.signatures(),
        exclusions: set.exclusions(),
    }
}

fn rows(snapshot: &Snapshot, traffic: Option<&Value>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    for route in &snapshot.model.routes {
        for (_, rule) in &route.rules {
            if !seen.insert(&rule.id) {
                continue;
            }
            let compiled = snapshot.rule(&rule.id);
            rows.push(Row {
                hosts: match route.hosts.as_slice() {
                    [] => vec!["*".to_owned()],
                    hosts => hosts.iter().map(ToString::to_string).collect(),
                },
                rule: rule.id.clone(),
                waf: compiled.and_then(|rule| rule.waf.as_ref()).map(inspection),
                traffic: traffic.map(|traffic| {
                    let none = json!({ "requests": 0, "notInspected": [] });
                    traffic["rules"].get(&rule.id).cloned().unwrap_or(none)
                }),
            });
        }
    }
    rows
}

fn inspection(waf: &CompiledWaf) -> Inspection {
    let profile = &waf.profile;
    let declared = waf.rules.declared_mode().unwrap_or(EngineMode::On);
    Inspection {
        profile: profile.name.clone(),
        mode: waf.mode.min(declared),
        level: probe(&waf.rules).level,
        request_bodies: waf.rules.inspects_request_body(),
        response_bodies: waf.rules.inspects_response_body(),
        body_limit: profile.body_limit,
        over_limit: profile.over_limit,
        response_body_limit: profile.response_body_limit,
        response_over_limit: profile.response_over_limit,
        buffers_spent: profile.buffers_spent,
        rules: waf.rules.hash().to_owned(),
    }
}

/// What the rules set themselves to, which they do for each request anew: a plain one is
/// shown to them.
fn probe(rules: &Arc<RuleSet>) -> AuditRecord {
    let id = "report".to_owned();
    let options = TransactionOptions::new(EngineMode::DetectionOnly, id, SystemTime::now());
    let mut transaction = Transaction::begin(Arc::clone(rules), options);
    transaction.request_line(b"GET", b"/", "HTTP/1.1");
    transaction.request_header(b"host", b"localhost");
    // It only detects, so both continue.
    let _ = transaction.request_headers_end();
    let _ = transaction.request_body_end();
    transaction.finish()
}

fn print_row(out: &mut impl Write, row: &Row) -> std::io::Result<()> {
    writeln!(out, "{}  (rule {})", row.hosts.join(", "), row.rule)?;
    match &row.waf {
        None => writeln!(out, "  no WAF: nothing is inspected")?,
        Some(waf) => print_inspection(out, waf)?,
    }
    let Some(traffic) = &row.traffic else {
        return writeln!(out);
    };
    writeln!(out, "  requests so far: {}", traffic["requests"])?;
    for noted in traffic["notInspected"].as_array().into_iter().flatten() {
        let text = |key: &str| noted[key].as_str().unwrap_or_default().to_owned();
        writeln!(
            out,
            "  not fully inspected: {} ({}, {})",
            noted["requests"],
            text("part"),
            text("reason")
        )?;
    }
    writeln!(out)
}

fn print_inspection(out: &mut impl Write, waf: &Inspection) -> std::io::Result<()> {
    let said = |value: Option<i64>| value.map_or("not set".to_owned(), |value| value.to_string());
    let mode = match waf.mode {
        EngineMode::On => "blocks",
        EngineMode::DetectionOnly => "only detects",
        EngineMode::Off => "is switched off by its rules",
    };
    writeln!(
        out,
        "  profile {} {mode}, rules {}",
        waf.profile,
        short(&waf.rules)
    )?;
    writeln!(
        out,
        "  paranoia level {} (detection {}), thresholds {} inbound, {} outbound",
        said(waf.level.paranoia),
        said(waf.level.detection),
        said(waf.level.inbound_threshold),
        said(waf.level.outbound_threshold),
    )?;
    let what = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let bodies = |looked_at, limit, over: BodyOverLimit| match looked_at {
        true => format!("up to {limit} bytes, then {}", what(json!(over))),
        false => "not inspected".to_owned(),
    };
    writeln!(
        out,
        "  request bodies: {}",
        bodies(waf.request_bodies, waf.body_limit, waf.over_limit)
    )?;
    writeln!(
        out,
        "  response bodies: {}",
        bodies(
            waf.response_bodies,
            waf.response_body_limit,
            waf.response_over_limit
        )
    )?;
    writeln!(
        out,
        "  without memory for a body: {}",
        what(json!(waf.buffers_spent))
    )
}

fn print_rules(out: &mut impl Write, hash: &str, rules: &Rules<'_>) -> std::io::Result<()> {
    writeln!(
        out,
        "rules {}: {} rules of {}, {} exclusions",
        short(hash),
        rules.count,
        match rules.components {
            [] => "no name".to_owned(),
            all => all.join(" and "),
        },
        rules.exclusions.len()
    )?;
    for exclusion in rules.exclusions {
        let when = match (exclusion.rule, exclusion.rules) {
            (Some(rule), _) => format!("where rule {rule} matches"),
            (None, Some(1)) => "always, 1 rule".to_owned(),
            (None, rules) => format!("always, {} rules", rules.unwrap_or_default()),
        };
        writeln!(
            out,
            "  {}  ({when}; {}:{})",
            exclusion.text, exclusion.file, exclusion.line
        )?;
    }
    writeln!(out)
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
