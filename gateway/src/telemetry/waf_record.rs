//! The audit record of a request, as the JSON of ModSecurity v3 with fields of our own beside.
//!
//! ```text
//! transaction   what libmodsecurity 3 writes with `SecAuditLogFormat JSON`: names and types are its own
//! waf           what it does not tell: each variable that matched, scores, mode, rules, snapshot
//! ```
//!
//! Texts come from the engine, which has escaped and cut them and left out secrets.

use std::{sync::OnceLock, time::SystemTime};

use chrono::{DateTime, Utc};
use portcullis_waf::{AuditRecord, EngineMode, Match};
use serde_json::{Map, Value, json};

/// What is known about the request beside the engine's record.
#[derive(Clone, Copy, Debug)]
pub struct WafFacts<'a> {
    /// The profile.
    pub profile: &'a str,
    /// The rule of the route.
    pub rule: &'a str,
    /// What came of it: `pass`, `detected` or `blocked`.
    pub verdict: &'static str,
    /// Status that the client got; 0 where none was sent.
    pub status: u16,
    /// When the request began.
    pub time: SystemTime,
    /// Number and hash of the snapshot that answered.
    pub snapshot: (u64, &'a str),
    /// Hash of the rule set.
    pub rules: &'a str,
}

/// Makes the fields of a record.
pub fn waf_record(facts: &WafFacts<'_>, record: &AuditRecord) -> Value {
    json!({
        "profile": facts.profile,
        "transaction": transaction(facts, record),
        "waf": own(facts, record),
    })
}

/// What ModSecurity v3 writes, `Transaction::toJSON` of 3.0.
fn transaction(facts: &WafFacts<'_>, record: &AuditRecord) -> Value {
    let mut request = json!({
        "method": record.method,
        "http_version": version(&record.protocol),
        "uri": record.uri,
    });
    if !record.request_headers.is_empty() {
        request["headers"] = headers(&record.request_headers);
    }
    let mut response = json!({ "http_code": facts.status });
    if !record.response_headers.is_empty() {
        response["headers"] = headers(&record.response_headers);
    }
    let mut transaction = json!({
        "client_ip": record.client,
        "time_stamp": DateTime::<Utc>::from(facts.time).format("%a %b %e %H:%M:%S %Y").to_string(),
        "server_id": server_id(),
        "client_port": record.client_port,
        "host_ip": record.server,
        "host_port": record.server_port,
        "unique_id": record.unique_id,
        "request": request,
        "response": response,
    });
    if record.has_messages {
        transaction["producer"] = json!({
            "modsecurity": concat!("Portcullis v", env!("CARGO_PKG_VERSION")),
            "connector": "portcullis",
            "secrules_engine": match record.mode {
                EngineMode::On => "Enabled",
                EngineMode::DetectionOnly => "DetectionOnly",
                EngineMode::Off => "Disabled",
            },
            "components": record.components,
        });
        transaction["messages"] = record.matches.iter().map(message).collect();
    }
    transaction
}

fn message(found: &Match) -> Value {
    let (operator, parameter) = found
        .operator
        .split_once(' ')
        .unwrap_or((&found.operator, ""));
    let negated = operator.starts_with('!');
    let name = operator.trim_start_matches(['!', '@']);
    let first = name.get(..1).unwrap_or_default().to_ascii_uppercase();
    let rest = name.get(1..).unwrap_or_default();
    // Its quotes do not all close; who reads them expects that.
    let reason = format!(
        "Matched \"Operator `{}{first}{rest}' with parameter `{parameter}' against variable `{}' (Value: `{}' )",
        if negated { "!" } else { "" },
        found.variable,
        found.value,
    );
    json!({
        "message": found.message,
        "details": {
            "match": reason,
            "reference": "",
            "ruleId": found.rule.map_or(String::new(), |id| id.to_string()),
            "file": found.file,
            "lineNumber": found.line.to_string(),
            "data": found.data,
            "severity": found.severity.unwrap_or_default().to_string(),
            "ver": found.version.as_deref().unwrap_or_default(),
            "rev": found.revision.as_deref().unwrap_or_default(),
            "tags": found.tags[..],
            "maturity": found.maturity.to_string(),
            "accuracy": found.accuracy.to_string(),
        },
    })
}

fn own(facts: &WafFacts<'_>, record: &AuditRecord) -> Value {
    json!({
        "rule": facts.rule,
        "mode": record.mode,
        "verdict": facts.verdict,
        "interruption": record.interruption,
        "wouldInterrupt": record.would_interrupt,
        "inboundAnomalyScore": record.inbound_anomaly_score,
        "outboundAnomalyScore": record.outbound_anomaly_score,
        "level": record.level,
        "path": record.path,
        "rules": {
            "hash": facts.rules,
            "crsVersion": crs_version(record),
        },
        "snapshot": { "version": facts.snapshot.0, "hash": facts.snapshot.1 },
        "notInspected": record.not_inspected,
        "matches": record.matches,
        "matchesDropped": record.matches_dropped,
    })
}

/// The version in `SecComponentSignature "OWASP_CRS/4.28.0"`, or that of the setup file.
fn crs_version(record: &AuditRecord) -> Option<String> {
    let mut signatures = record.components.iter();
    let signed = signatures.find_map(|signature| signature.strip_prefix("OWASP_CRS/"));
    let set_up = || {
        record
            .level
            .crs_setup_version
            .map(|version| version.to_string())
    };
    signed.map(ToOwned::to_owned).or_else(set_up)
}

/// A field that stands twice is one with both values, as in HTTP.
fn headers(fields: &[(String, String)]) -> Value {
    let mut headers = Map::new();
    for (name, value) in fields {
        match headers.get_mut(name) {
            Some(Value::String(known)) => {
                known.push_str(", ");
                known.push_str(value);
            }
            _ => drop(headers.insert(name.clone(), value.clone().into())),
        }
    }
    headers.into()
}

/// ModSecurity writes a number.
fn version(protocol: &str) -> f64 {
    let digits = protocol.rsplit('/').next().unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// The name of this machine; in a cluster, of the pod.
fn server_id() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
        name.map_or_else(|_| "portcullis".to_owned(), |name| name.trim().to_owned())
    })
}
