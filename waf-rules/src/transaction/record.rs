//! What is told of a transaction: its matches as they happen, and the record at its end.
//!
//! Every text from a client comes through `secrecy`, and is escaped, cut, and without the
//! values of secrets.

use std::sync::{Arc, LazyLock};

use super::{Transaction, TxName};
use crate::{
    audit::{AuditRecord, Found, Level, Match, NotInspected, Part, Reason, escaped},
    compile::{Placed, SHORT},
    limits::BodyOverLimit,
    operators::compare::number,
    secrets::mask_target,
    variables::Variable,
    verdict::{EngineMode, InterruptionAction},
};

/// Variables of one match that are told.
pub(super) const MAX_FOUND: usize = 16;

/// Bytes of the variables that a record tells; of matches behind them only the last one.
const MAX_FOUND_BYTES: usize = 64 << 10;

/// Bytes of the path that a record has; an exclusion is written for it.
const MAX_PATH: usize = 1024;

/// Variables that hold a score.
struct ScoreNames {
    whole: TxName,
    by_level: [TxName; 4],
}

static SCORES: LazyLock<[ScoreNames; 2]> = LazyLock::new(|| {
    ["inbound_anomaly_score", "outbound_anomaly_score"].map(|whole| ScoreNames {
        whole: TxName::of_tx(whole.as_bytes()),
        by_level: [1, 2, 3, 4].map(|level| TxName::of_tx(format!("{whole}_pl{level}").as_bytes())),
    })
});

impl Transaction {
    /// Notes a match.
    pub(super) fn record(&mut self, rule: &Placed, message: &str) {
        self.look_up_secrets();
        self.body_secrecy();
        let found = match self.found_bytes < MAX_FOUND_BYTES {
            true => self.found(),
            false => Vec::new(),
        };
        let sizes = found
            .iter()
            .map(|found| found.variable.len() + found.value.len());
        self.found_bytes += sizes.sum::<usize>();
        let found_dropped = self.state.matched_vars.len().saturating_sub(found.len());
        let last = self.state.matched_vars.last();
        let (variable, value) = match (last, found.last()) {
            (Some(_), Some(told)) if found_dropped == 0 => {
                (told.variable.clone(), told.value.clone())
            }
            (Some(field), _) => (
                self.shown_name(&field.name),
                self.shown(&field.name, &field.value),
            ),
            (None, _) => (String::new(), String::new()),
        };
        let data = match &rule.log_data {
            Some(text) => self.told(text),
            None => value.clone(),
        };
        let tags = match &rule.tags {
            Some(tags) if self.state.limits.max_audit_value_bytes >= SHORT => Arc::clone(tags),
            _ => {
                let tags = rule.rule.tags.iter();
                tags.map(|tag| self.told(tag)).collect()
            }
        };
        let score = self.score();
        let condition = rule
            .links
            .iter()
            .rev()
            .find_map(|link| link.condition.as_ref());
        let description = &rule.description;
        let (file, line) = match &description.place {
            Some(place) => (place.file.to_string(), place.line),
            None => (String::new(), 0),
        };
        self.matches.push(Match {
            rule: description.id,
            phase: self.phase,
            message: message.to_owned(),
            data,
            severity: description.severity,
            tags,
            variable,
            value,
            operator: condition.map_or(String::new(), |asked| asked.operator_text.to_string()),
            transformations: condition.map_or(Vec::new(), |asked| {
                let all = asked.transformations.iter();
                all.map(|transformation| transformation.name()).collect()
            }),
            found,
            found_dropped,
            score: score - self.recorded_score,
            version: description.version.clone(),
            revision: description.revision.clone(),
            maturity: description.maturity,
            accuracy: description.accuracy,
            file,
            line,
        });
        self.recorded_score = score;
    }

    /// Makes the record.
    pub(super) fn into_record(mut self) -> AuditRecord {
        let most = self.state.limits.max_audit_value_bytes;
        let mut record = AuditRecord {
            inbound_anomaly_score: self
                .highest([b"inbound_anomaly_score", b"blocking_inbound_anomaly_score"]),
            outbound_anomaly_score: self.highest([
                b"outbound_anomaly_score",
                b"blocking_outbound_anomaly_score",
            ]),
            unique_id: std::mem::take(&mut self.state.unique_id),
            time_unix_ms: self.state.time_unix_ms,
            client: self.state.connection.map(|connection| connection.client),
            client_port: self.state.connection.map(|ends| ends.client_port),
            server: self.state.connection.map(|connection| connection.server),
            server_port: self.state.connection.map(|ends| ends.server_port),
            method: String::new(),
            uri: String::new(),
            path: String::new(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            protocol: String::new(),
            response_status: self.state.response_status,
            components: Vec::new(),
            has_messages: true,
            mode: self.state.control.mode,
            level: self.level(),
            not_inspected: self.all_not_inspected(),
            relevant: self.state.control.audit.unwrap_or(self.relevant),
            interruption: self.interruption.take(),
            would_interrupt: self.would_interrupt.take(),
            matches: std::mem::take(&mut self.matches),
            matches_dropped: self.matches_dropped,
        };
        record.method = escaped(&self.state.method, most);
        record.protocol = escaped(self.state.protocol.as_bytes(), most);
        if !record.is_notable() {
            return record;
        }
        // A rule may have hidden something after it was noted.
        self.look_up_secrets();
        if !self.state.control.sanitised.is_empty() {
            self.hide_again(&mut record);
        }
        let told = |text: Vec<u8>, most: usize| escaped(&self.secret_values.1.masked(text), most);
        let uri = mask_target(&self.state.uri_raw, &|name| self.is_named(name));
        record.uri = told(uri, most);
        let path = mask_target(&self.state.path, &|name| self.is_named(name));
        record.path = told(path, MAX_PATH);
        let ends = [&mut record.interruption, &mut record.would_interrupt];
        for interruption in ends.into_iter().flatten() {
            if let InterruptionAction::Redirect(location) = &mut interruption.action {
                let masked = mask_target(location.as_bytes(), &|name| self.is_named(name));
                let masked = self.secret_values.1.masked(masked);
                *location = String::from_utf8_lossy(&masked).into_owned();
            }
        }
        record.components = self.rules.signatures().to_vec();
        let parts = self.rules.settings().audit_parts();
        record.has_messages = parts.messages;
        let fields = |variable: Variable, fields: &super::Fields| {
            let all = fields.iter().map(|field| {
                let name = [variable.name().as_bytes(), b":", &field.name].concat();
                (escaped(&field.name, most), self.shown(&name, &field.value))
            });
            all.collect()
        };
        if parts.request_headers {
            record.request_headers = fields(Variable::RequestHeaders, &self.state.request_headers);
        }
        if parts.response_headers {
            let all = &self.state.response_headers;
            record.response_headers = fields(Variable::ResponseHeaders, all);
        }
        record
    }

    fn found(&self) -> Vec<Found> {
        let ends = &self.state.link_ends;
        let fields = self.state.matched_vars.iter().take(MAX_FOUND).enumerate();
        fields
            .map(|(at, field)| Found {
                link: ends.partition_point(|end| *end <= at),
                variable: self.shown_name(&field.name),
                value: self.shown(&field.name, &field.value),
            })
            .collect()
    }

    /// The anomaly scores so far, inbound and outbound.
    fn score(&self) -> i64 {
        let tx = &self.state.tx;
        let of = |names: &ScoreNames| {
            // The CRS adds up by paranoia level first.
            let levels = names.by_level.iter().filter_map(|name| tx.get(name));
            let levels = levels.map(number).reduce(i64::saturating_add);
            let whole = || tx.get(&names.whole).map(number);
            levels.or_else(whole).unwrap_or(0)
        };
        let [inbound, outbound] = &*SCORES;
        of(inbound).saturating_add(of(outbound))
    }

    fn highest(&self, names: [&[u8]; 2]) -> i64 {
        let scores = names
            .iter()
            .filter_map(|name| self.state.tx.get_by_text(name));
        scores.map(number).max().unwrap_or(0)
    }

    fn level(&self) -> Level {
        let said = |name: &[u8]| self.state.tx.get_by_text(name).map(number);
        Level {
            paranoia: said(b"blocking_paranoia_level"),
            detection: said(b"detection_paranoia_level"),
            inbound_threshold: said(b"inbound_anomaly_score_threshold"),
            outbound_threshold: said(b"outbound_anomaly_score_threshold"),
            crs_setup_version: said(b"crs_setup_version"),
        }
    }

    /// What the caller has noted, and what the engine knows itself.
    fn all_not_inspected(&self) -> Vec<NotInspected> {
        let state = &self.state;
        let mut all = self.not_inspected.clone();
        let mut note = |part, reason| {
            let noted = NotInspected { part, reason };
            if !all.contains(&noted) {
                all.push(noted);
            }
        };
        let over = |limit| match limit {
            BodyOverLimit::InspectPrefix => Some(Reason::PrefixOnly),
            BodyOverLimit::Skip => Some(Reason::OverLimit),
            BodyOverLimit::Reject => None,
        };
        let cut = (state.request_body_truncated).then(|| over(state.limits.request_over_limit));
        if let Some(reason) = cut.flatten() {
            note(Part::RequestBody, reason);
        }
        let cut = (state.response_body_truncated).then(|| over(state.limits.response_over_limit));
        if let Some(reason) = cut.flatten() {
            note(Part::ResponseBody, reason);
        }
        if self.body_is_coded {
            note(Part::RequestBody, Reason::Coded);
        }
        if state.control.mode == EngineMode::Off {
            note(Part::Request, Reason::SwitchedOff);
        } else if !state.control.request_body_access && self.announces_body() {
            note(Part::RequestBody, Reason::SwitchedOff);
        }
        if self.allowed.is_some() {
            note(Part::Request, Reason::Allowed);
        }
        if self.went_past_limit {
            note(Part::Request, Reason::LimitExceeded);
        }
        all
    }

    fn announces_body(&self) -> bool {
        let headers = &self.state.request_headers;
        headers.first(b"transfer-encoding").is_some()
            || headers
                .first(b"content-length")
                .is_some_and(|length| length.as_slice() != b"0")
    }
}
