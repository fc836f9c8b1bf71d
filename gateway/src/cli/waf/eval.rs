//! `portcullis waf eval`.

use std::{
    io::Write,
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::{anyhow, bail};
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_config::{
    model::WafMode,
    read::did_you_mean,
    route::{RouteRequest, canonical_host},
};
use portcullis_waf::{AuditRecord, EngineMode, RuleSet, SecretNames, TransactionOptions};

use super::{
    EvalArgs, check, print,
    request::{Request, Response, run},
    rules::sources,
};
use crate::{
    cli::config::load,
    inspect,
    snapshot::{CompiledRule, CompiledWaf, Reads, RuleProblems, Snapshot, compile_rules},
    telemetry::{WafFacts, waf_record},
};

/// Exit code of a request that is refused.
const REFUSED: u8 = 3;

/// By which rules a request is judged.
struct Judge {
    /// `rule shop/0, profile crs`, for people.
    name: String,
    profile: String,
    rule: String,
    rules: Arc<RuleSet>,
    options: TransactionOptions,
}

/// Shows one request to the rules and prints what they make of it.
pub(super) fn eval(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let request = Request::read(&args.request)?;
    let response = args.response.as_deref().map(Response::read).transpose()?;
    let judge = match args.config.is_empty() {
        true => by_rules(args)?,
        false => {
            let snapshot = load(&args.config)?;
            by_config(args, &snapshot, &request)?
        }
    };
    let begun = Instant::now();
    let time = judge.options.time;
    let record = run(&judge.rules, judge.options, &request, response.as_ref());
    let elapsed = begun.elapsed();
    let mut out = std::io::stdout().lock();
    if args.json {
        let facts = WafFacts {
            profile: &judge.profile,
            rule: &judge.rule,
            verdict: verdict(&record),
            status: record.interruption.as_ref().map_or(0, |stop| stop.status),
            time,
            snapshot: (0, ""),
            rules: judge.rules.hash(),
        };
        let mut told = waf_record(&facts, &record);
        told["notes"] = request.message.notes.clone().into();
        writeln!(out, "{told:#}")?;
    } else {
        for note in &request.message.notes {
            writeln!(out, "note: {note}")?;
        }
        print::record(&mut out, &judge.name, &judge.rules, &record)?;
        writeln!(out, "time: {} µs", elapsed.as_micros())?;
    }
    Ok(match record.interruption {
        Some(_) => ExitCode::from(REFUSED),
        None => ExitCode::SUCCESS,
    })
}

fn verdict(record: &AuditRecord) -> &'static str {
    match (&record.interruption, &record.would_interrupt) {
        (Some(_), _) => "blocked",
        (None, Some(_)) => "detected",
        (None, None) => "pass",
    }
}

fn by_rules(args: &EvalArgs) -> anyhow::Result<Judge> {
    let sources = sources(&args.rules);
    let rules = compile_rules(&sources, &Reads::default()).map_err(|problems| match problems {
        RuleProblems::Unreadable(problems) => anyhow!("{}", problems.join("\n")),
        RuleProblems::Wrong(problems) => {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| check::line("error", problem))
                .collect();
            anyhow!("the rules cannot be compiled\n{}", lines.join("\n"))
        }
    })?;
    Ok(Judge {
        name: match args.rules.is_empty() {
            true => "the baseline".to_owned(),
            false => {
                let names = args.rules.iter().map(|path| path.display().to_string());
                names.collect::<Vec<_>>().join(", ")
            }
        },
        profile: String::new(),
        rule: String::new(),
        rules: Arc::new(rules),
        options: TransactionOptions::new(EngineMode::On, "eval".to_owned(), SystemTime::now()),
    })
}

fn by_config(args: &EvalArgs, snapshot: &Snapshot, request: &Request) -> anyhow::Result<Judge> {
    if let Some(name) = &args.profile {
        return by_profile(name, snapshot);
    }
    let rule = match &args.route {
        Some(name) => of_route(name, snapshot, request)?,
        None => routed(snapshot, request).ok_or_else(|| {
            anyhow!(
                "no route takes {} {}{}: name one with --route, or a profile with --profile",
                request.method,
                request.host(),
                request.path
            )
        })?,
    };
    let id = &rule.rule.id;
    let Some(waf) = &rule.waf else {
        bail!("the rule {id} has no WAF profile: nothing is inspected there");
    };
    Ok(judge(
        format!("rule {id}, profile {}", waf.profile.name),
        id,
        waf,
    ))
}

fn judge(name: String, rule: &str, waf: &CompiledWaf) -> Judge {
    Judge {
        name,
        profile: waf.profile.name.clone(),
        rule: rule.to_owned(),
        rules: Arc::clone(&waf.rules),
        options: inspect::options(waf, "eval", SystemTime::now()),
    }
}

fn by_profile(name: &str, snapshot: &Snapshot) -> anyhow::Result<Judge> {
    let profiles = &snapshot.model.waf_profiles;
    let Some(profile) = profiles.iter().find(|profile| profile.name == name) else {
        let names: Vec<&str> = profiles
            .iter()
            .map(|profile| profile.name.as_str())
            .collect();
        bail!("there is no profile {name:?}{}", instead(name, &names));
    };
    let Some(rules) = snapshot.rule_set(name) else {
        bail!("the profile {name:?} has no rules");
    };
    let waf = CompiledWaf {
        profile: Arc::clone(profile),
        rules: Arc::clone(rules),
        collections: Arc::default(),
        mode: match profile.mode {
            WafMode::Block => EngineMode::On,
            WafMode::Detect => EngineMode::DetectionOnly,
        },
        secrets: Arc::new(SecretNames::new(&snapshot.model.process.secrets)),
    };
    Ok(judge(format!("profile {name}"), "", &waf))
}

/// The rule of a route that a request leads to, or its first one.
fn of_route<'a>(
    name: &str,
    snapshot: &'a Snapshot,
    request: &Request,
) -> anyhow::Result<&'a Arc<CompiledRule>> {
    if let Some(rule) = snapshot.rule(name) {
        return Ok(rule);
    }
    let routes = &snapshot.model.routes;
    let Some(route) = routes.iter().find(|route| route.name == name) else {
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        bail!("there is no route {name:?}{}", instead(name, &names));
    };
    if let Some(rule) = routed(snapshot, request)
        && rule.rule.route == name
    {
        return Ok(rule);
    }
    let mut rules = route.rules.iter();
    rules
        .find_map(|(_, rule)| snapshot.rule(&rule.id))
        .ok_or_else(|| anyhow!("the route {name:?} has no rules"))
}

/// The rule that a request leads to, on the first listener that knows one.
fn routed<'a>(snapshot: &'a Snapshot, request: &Request) -> Option<&'a Arc<CompiledRule>> {
    let host = request.host();
    let (host, _) = canonical_host(&host).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &request.message.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value),
        ) {
            headers.append(name, value);
        }
    }
    let mut listeners = snapshot.model.listeners.iter();
    listeners.find_map(|listener| {
        let found = snapshot.routes.find(RouteRequest {
            listener: &listener.name,
            host: &host,
            path: &request.path,
            method: &request.method,
            headers: &headers,
            query: request
                .target
                .split_once('?')
                .map(|(_, query)| query.as_bytes()),
        })?;
        snapshot.rule(&found.rule.id)
    })
}

/// What may have been meant, and what there is.
fn instead(name: &str, known: &[&str]) -> String {
    let hint = did_you_mean(name, known.iter().copied());
    let hint = hint.map_or(String::new(), |hint| format!(" ({hint})"));
    match known {
        [] => format!("{hint}; the configuration has none"),
        known => format!("{hint}; there are {}", known.join(", ")),
    }
}
