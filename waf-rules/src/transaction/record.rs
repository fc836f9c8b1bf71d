//! What is told of a transaction: its matches as they happen, and the record at its end.
//!
//! Every text from a client goes through here, and leaves escaped, cut, and without the
//! values of secrets (`secrets`).

use std::cell::OnceCell;

use super::Transaction;
use crate::{
    audit::{AuditRecord, Found, Level, Match, NotInspected, Part, Reason, escaped},
    compile::Rule,
    limits::BodyOverLimit,
    operators::compare::number,
    secrets::{MASK, Values, mask_target, target_has_secret},
    variables::{Expansion, Variable},
    verdict::{EngineMode, InterruptionAction},
};

/// Variables of one match that are told.
const MAX_FOUND: usize = 16;

/// Bytes of the variables that a record tells; of matches behind them only the last one.
const MAX_FOUND_BYTES: usize = 64 << 10;

/// Bytes of a value that are looked at for names of secrets, and of which some are told.
const LOOKED_AT: usize = 1024;

/// Bytes of the path that a record has; an exclusion is written for it.
const MAX_PATH: usize = 1024;

/// What may be told of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrecy {
    Open,
    /// It has a query or a form in it, with secrets.
    Parts,
    /// Nothing.
    Secret,
}

impl Transaction {
    /// Expands a text of a rule that has just matched.
    pub(super) fn told(&mut self, text: &Expansion) -> String {
        let most = self.state.limits.max_audit_value_bytes;
        match text.literal() {
            Some(literal) => escaped(literal, most),
            None => {
                self.look_up_secrets();
                self.body_secrecy();
                let captures_are_secret = OnceCell::new();
                let told = text.expand_told(&self.state, &|variable, key, value| {
                    self.told_value(variable, key, value, &captures_are_secret)
                });
                escaped(&self.secret_values.1.masked(told), most)
            }
        }
    }

    /// Notes a match.
    pub(super) fn record(&mut self, rule: &Rule, message: &str) {
        let most = self.state.limits.max_audit_value_bytes;
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
        let (variable, value) = match last {
            Some(field) => (
                escaped(&field.name, most),
                self.shown(&field.name, &field.value),
            ),
            None => (String::new(), String::new()),
        };
        let data = match &rule.log_data {
            Some(text) => self.told(text),
            None => value.clone(),
        };
        let tags = rule.tags.iter().map(|tag| self.told(tag)).collect();
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
        self.secret_values.0 = 0;
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
        let most = self.state.limits.max_audit_value_bytes;
        let ends = &self.state.link_ends;
        let fields = self.state.matched_vars.iter().take(MAX_FOUND).enumerate();
        fields
            .map(|(at, field)| Found {
                link: ends.partition_point(|end| *end <= at),
                variable: escaped(&field.name, most),
                value: self.shown(&field.name, &field.value),
            })
            .collect()
    }

    /// A value as a record tells it.
    fn shown(&self, variable: &[u8], value: &[u8]) -> String {
        let most = self.state.limits.max_audit_value_bytes;
        let shown = match self.secrecy(variable, value) {
            Secrecy::Secret => return MASK.to_owned(),
            Secrecy::Parts => mask_target(beginning(value), &|name| self.is_named(name)),
            Secrecy::Open => beginning(value).to_vec(),
        };
        escaped(&self.secret_values.1.masked(shown), most)
    }

    /// A value as it becomes part of a text.
    fn told_value(
        &self,
        variable: Variable,
        key: Option<&[u8]>,
        value: &[u8],
        captures_are_secret: &OnceCell<bool>,
    ) -> Vec<u8> {
        let secrecy = match (variable, key) {
            (Variable::Tx, Some([b'0'..=b'9']))
                if *captures_are_secret.get_or_init(|| self.captures_are_secret()) =>
            {
                Secrecy::Secret
            }
            (Variable::MatchedVar | Variable::MatchedVars, _) => {
                let last = self.state.matched_vars.last();
                last.map_or(Secrecy::Open, |field| {
                    self.secrecy(&field.name, &field.value)
                })
            }
            (variable, key) => self.secrecy(&full_name(variable, key), value),
        };
        match secrecy {
            Secrecy::Open => beginning(value).to_vec(),
            Secrecy::Parts => mask_target(beginning(value), &|name| self.is_named(name)),
            Secrecy::Secret => MASK.as_bytes().to_vec(),
        }
    }

    /// Tells whether `TX:0` to `TX:9` may be pieces of a secret. Where they are left from an
    /// earlier rule, what that one looked at is not known any more.
    fn captures_are_secret(&self) -> bool {
        let matched = &self.state.matched_vars;
        // What is behind the part that is looked at may be anything.
        let may_be = |field: &super::fields::Field| {
            field.value.len() > LOOKED_AT && !is_whole(&field.name)
                || self.secrecy(&field.name, &field.value) != Secrecy::Open
        };
        let from = &self.state.captured_from;
        let is_left = !from.is_empty() && !matched.iter().any(|field| field.name == *from);
        is_left || matched.len() > MAX_FOUND || matched.iter().any(may_be)
    }

    /// Decides what may be told of a variable, such as `ARGS:id`, with a value.
    fn secrecy(&self, full: &[u8], value: &[u8]) -> Secrecy {
        let value = beginning(value);
        let at = full.iter().position(|byte| *byte == b':');
        let (variable, name) = match at {
            Some(at) => (&full[..at], Some(&full[at + 1..])),
            None => (full, None),
        };
        let variable = std::str::from_utf8(variable).unwrap_or_default();
        if self.state.control.sanitised.hides(variable, name) {
            return Secrecy::Secret;
        }
        if variable.starts_with('&') || variable.ends_with("_NAMES") {
            return Secrecy::Open;
        }
        let of_target = || target_has_secret(&self.state.uri_raw, &|name| self.is_named(name));
        match variable {
            "REQUEST_COOKIES" | "SESSIONID" => return Secrecy::Secret,
            "REQUEST_BODY" | "XML" if self.secret_in_body.unwrap_or(true) => {
                return Secrecy::Secret;
            }
            "RESPONSE_BODY" if self.state.secrets.may_stand_in(&self.state.response_body) => {
                return Secrecy::Secret;
            }
            "REQUEST_URI" | "REQUEST_URI_RAW" | "REQUEST_LINE" | "QUERY_STRING" if of_target() => {
                return Secrecy::Parts;
            }
            _ => {}
        }
        let is_open_name = matches!(
            variable,
            "FILES" | "FILES_SIZES" | "MULTIPART_PART_HEADERS" | "MULTIPART_NAME" | "RULE"
        );
        let named = |name: &[u8]| !is_open_name && self.state.secrets.has(name);
        // A document in a value is not taken apart.
        let document = matches!(value.trim_ascii_start().first(), Some(b'{' | b'['))
            && self.state.secrets.may_stand_in(value);
        if name.is_some_and(named) || document {
            return Secrecy::Secret;
        }
        match target_has_secret(value, &|name| self.is_named(name)) {
            true => Secrecy::Parts,
            false => Secrecy::Open,
        }
    }

    /// Tells whether an argument of this name is a secret.
    fn is_named(&self, name: &[u8]) -> bool {
        self.state.secrets.has(name) || self.state.control.sanitised.hides("ARGS", Some(name))
    }

    /// Tells whether the body of the request may hold a secret; asked once, since it is long.
    fn body_secrecy(&mut self) {
        if self.secret_in_body.is_some() || self.phase < 2 {
            return;
        }
        let mut arguments = self.state.args_post.iter();
        let holds = arguments.any(|field| self.is_named(&field.name))
            || self.state.secrets.may_stand_in(&self.state.request_body);
        self.secret_in_body = Some(holds);
    }

    /// Looks up the values of secrets, once a phase.
    fn look_up_secrets(&mut self) {
        if self.secret_values.0 == self.phase {
            return;
        }
        let state = &self.state;
        let hidden = |variable: &str, name: &[u8]| {
            state.secrets.has(name) || state.control.sanitised.hides(variable, Some(name))
        };
        let arguments = state.args_get.iter().chain(state.args_post.iter());
        let arguments = arguments
            .filter(|field| hidden("ARGS", &field.name))
            .map(|field| field.value.as_slice());
        let cookies = state.cookies.iter().map(|field| field.value.as_slice());
        let request = state.request_headers.iter();
        let request = request.filter(|field| hidden("REQUEST_HEADERS", &field.name));
        let response = state.response_headers.iter();
        let response = response.filter(|field| hidden("RESPONSE_HEADERS", &field.name));
        // The whole field, and what follows a scheme or the name of a cookie.
        let fields = request.chain(response).flat_map(|field| {
            let value = field.value.as_slice();
            let cookie = value.split(|byte| *byte == b';').next().unwrap_or(value);
            let part = |separator: u8| {
                let at = cookie.iter().position(|byte| *byte == separator);
                at.map_or(value, |at| cookie[at + 1..].trim_ascii())
            };
            [value, part(b' '), part(b'=')]
        });
        let values = Values::new(arguments.chain(cookies).chain(fields));
        self.secret_values = (self.phase, values);
    }

    /// Hides what a rule wanted hidden after it had been noted.
    fn hide_again(&self, record: &mut AuditRecord) {
        let sanitised = &self.state.control.sanitised;
        let hides = |variable: &str| {
            let (name, rest) = match variable.split_once(':') {
                Some((name, rest)) => (name, Some(rest.as_bytes())),
                None => (variable, None),
            };
            is_whole(name.as_bytes()) || sanitised.hides(name, rest)
        };
        let masked = |text: &str| {
            let masked = self.secret_values.1.masked(text.as_bytes().to_vec());
            String::from_utf8_lossy(&masked).into_owned()
        };
        for found in &mut record.matches {
            let is_hidden = found.found_dropped > 0
                || hides(&found.variable)
                || found.found.iter().any(|found| hides(&found.variable));
            if is_hidden {
                MASK.clone_into(&mut found.data);
                MASK.clone_into(&mut found.value);
                found
                    .found
                    .iter_mut()
                    .for_each(|found| MASK.clone_into(&mut found.value));
            }
            let texts = [&mut found.data, &mut found.value, &mut found.message];
            for text in texts.into_iter().chain(&mut found.tags) {
                *text = masked(text);
            }
            found
                .found
                .iter_mut()
                .for_each(|found| found.value = masked(&found.value));
        }
        let ends = [&mut record.interruption, &mut record.would_interrupt];
        for interruption in ends.into_iter().flatten() {
            interruption.message = masked(&interruption.message);
        }
    }

    /// The anomaly scores so far, inbound and outbound.
    fn score(&self) -> i64 {
        let of = |level: &str, whole: &[u8]| {
            // The CRS adds up by paranoia level first.
            let levels = (1..=4).filter_map(|at| {
                let key = format!("{level}_pl{at}").into_bytes();
                self.state.tx.get(&key).map(|score| number(score))
            });
            let levels: Vec<i64> = levels.collect();
            match levels.is_empty() {
                true => self.state.tx.get(whole).map_or(0, |score| number(score)),
                false => levels
                    .iter()
                    .fold(0_i64, |sum, score| sum.saturating_add(*score)),
            }
        };
        of("inbound_anomaly_score", b"inbound_anomaly_score")
            .saturating_add(of("outbound_anomaly_score", b"outbound_anomaly_score"))
    }

    fn highest(&self, names: [&[u8]; 2]) -> i64 {
        let scores = names.iter().filter_map(|name| self.state.tx.get(*name));
        scores.map(|score| number(score)).max().unwrap_or(0)
    }

    fn level(&self) -> Level {
        let said = |name: &[u8]| self.state.tx.get(name).map(|value| number(value));
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

/// Tells whether a variable holds the whole of something, and is looked at as such.
fn is_whole(name: &[u8]) -> bool {
    name.starts_with(b"XML")
        || [
            &b"REQUEST_URI"[..],
            b"REQUEST_URI_RAW",
            b"REQUEST_LINE",
            b"QUERY_STRING",
            b"REQUEST_BODY",
            b"RESPONSE_BODY",
        ]
        .contains(&name)
}

fn beginning(value: &[u8]) -> &[u8] {
    &value[..value.len().min(LOOKED_AT)]
}

fn full_name(variable: Variable, key: Option<&[u8]>) -> Vec<u8> {
    match key {
        Some(key) => [variable.name().as_bytes(), b":", key].concat(),
        None => variable.name().as_bytes().to_vec(),
    }
}
