//! Runs one request, written as data, through a rule set.

use std::{sync::Arc, time::SystemTime};

use portcullis_waf::{
    AuditRecord, EngineMode, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions, Verdict,
};
use serde::Deserialize;

/// One request.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default = "get")]
    pub(crate) method: String,
    #[serde(default = "root")]
    pub(crate) uri: String,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) body: String,
}

fn get() -> String {
    "GET".into()
}

fn root() -> String {
    "/".into()
}

impl Request {
    /// Makes a GET of a target.
    pub(crate) fn get(uri: &str) -> Self {
        Self {
            method: get(),
            uri: uri.into(),
            headers: vec![("Host".into(), "shop.example".into())],
            body: String::new(),
        }
    }

    /// Makes a POST.
    pub(crate) fn post(content_type: &str, body: &str) -> Self {
        let mut request = Self::get("/form");
        request.method = "POST".into();
        request.body = body.into();
        request.header("Content-Type", content_type)
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Runs a request; returns the status it is answered with, if it is stopped.
pub(crate) fn run(
    rules: &Arc<RuleSet>,
    mode: EngineMode,
    request: &Request,
) -> (Option<u16>, AuditRecord) {
    let options = TransactionOptions::new(mode, "t".into(), SystemTime::UNIX_EPOCH);
    let mut tx = Transaction::begin(rules.clone(), options);
    tx.request_line(
        request.method.as_bytes(),
        request.uri.as_bytes(),
        "HTTP/1.1",
    );
    for (name, value) in &request.headers {
        tx.request_header(name.as_bytes(), value.as_bytes());
    }
    let mut verdict = tx.request_headers_end();
    if verdict == Verdict::Continue {
        if tx.wants_request_body() {
            tx.request_body(request.body.as_bytes());
        }
        verdict = tx.request_body_end();
    }
    let status = match verdict {
        Verdict::Continue => None,
        Verdict::Interrupt(interruption) => Some(interruption.status),
    };
    (status, tx.finish())
}

/// Compiles rules from a text, and runs a request through them: its status, if it is stopped.
#[allow(dead_code, reason = "not every test that shares this module needs it")]
pub(crate) fn status(rules: &str, request: &Request) -> Option<u16> {
    let text = RuleText {
        name: "t.conf".into(),
        text: rules.into(),
    };
    let rules = RuleSet::compile(&[text], &NoFiles).expect("the rules compile");
    run(&Arc::new(rules), EngineMode::On, request).0
}

/// The type of a form.
#[allow(dead_code, reason = "not every test that shares this module needs it")]
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A form of one field.
#[allow(dead_code, reason = "not every test that shares this module needs it")]
pub(crate) fn form(name: &str, value: &str) -> Request {
    let body = format!("{name}={}", encoded(value));
    Request::post(FORM, &body)
}

/// A document for `/api/jobs`.
#[allow(dead_code, reason = "not every test that shares this module needs it")]
pub(crate) fn json(body: &str) -> Request {
    let mut request = Request::post("application/json", body);
    request.uri = "/api/jobs".into();
    request
}

/// Percent-encodes everything but letters and digits.
#[allow(dead_code, reason = "not every test that shares this module needs it")]
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
