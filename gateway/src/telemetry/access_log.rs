//! The access log: one JSON line for each request.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{Decision, Decisions, LogWriter, timestamp::with_timestamp};

/// Bytes of a client's text (path, query, user agent) that a line keeps.
const MAX_TEXT: usize = 512;

/// What the log tells of one request.
///
/// Bodies, cookies and authorization headers are never logged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestFacts<'a> {
    /// When it began, RFC 3339 with milliseconds.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// The request's id.
    pub request_id: &'a str,
    /// Listener it came in on.
    pub listener: &'a str,
    /// The client, found through trusted proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The peer of the connection, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'static str,
    /// TLS facts, where there is TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts<'a>>,
    /// Method, as sent.
    pub method: &'a str,
    /// Canonical host.
    pub host: &'a str,
    /// Canonical path; the raw one where there is none.
    #[serde(serialize_with = "capped")]
    pub path: &'a str,
    /// Query, as sent.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "capped_option"
    )]
    pub query: Option<&'a str>,
    /// Status sent; 0 where none was.
    pub status: u16,
    /// Bytes of request body.
    pub bytes_in: u64,
    /// Bytes of response body.
    pub bytes_out: u64,
    /// Milliseconds from head to end.
    #[serde(rename = "durationMs", serialize_with = "millis")]
    pub duration: Duration,
    /// Rule it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// Backend it went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<&'a str>,
    /// Endpoint it went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// Endpoints that were tried, where more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Milliseconds until the endpoint's response head.
    #[serde(
        rename = "upstreamMs",
        skip_serializing_if = "Option::is_none",
        serialize_with = "millis_option"
    )]
    pub upstream: Option<Duration>,
    /// `User-Agent`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "capped_option"
    )]
    pub user_agent: Option<&'a str>,
    /// `pass`, `detected` or `blocked`, where the WAF looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waf: Option<&'static str>,
    /// The part of the gateway that answered itself: `route`, `access`, `limit`, `waf`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<&'static str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Name of the list, limit, rule or backend that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<&'a str>,
}

/// TLS facts of a request's connection.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TlsFacts<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'a str,
    /// Server name that the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<&'a str>,
}

/// The access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    writer: LogWriter,
    decisions: Decisions,
}

impl AccessLog {
    /// Makes a log over a writer; decisions are also shown to whoever subscribed.
    pub fn new(writer: LogWriter, decisions: Decisions) -> Self {
        Self { writer, decisions }
    }

    /// Where the lines go.
    pub fn writer(&self) -> &LogWriter {
        &self.writer
    }

    /// Tells whether anybody reads, so that facts need not be gathered for nobody.
    pub fn is_read(&self) -> bool {
        !self.writer.is_off() || self.decisions.is_watched()
    }

    /// Writes one request.
    pub fn write(&self, facts: &RequestFacts<'_>) {
        if !self.writer.is_off() {
            let mut line = Vec::with_capacity(512);
            match serde_json::to_writer(&mut line, facts) {
                Ok(()) => self.writer.write(&line),
                Err(error) => tracing::error!(%error, "access log line not written"),
            }
        }
        self.decisions.tell(|| Decision {
            inbound: true,
            allowed: facts.refused_by.is_none(),
            status: facts.status,
            subject: format!("{} {}{}", facts.method, facts.host, cap(facts.path)),
            reason: match (facts.refused_by, facts.reason, facts.decided_by) {
                (Some(stage), Some(reason), Some(by)) => format!("{stage}/{reason} ({by})"),
                (Some(stage), Some(reason), None) => format!("{stage}/{reason}"),
                _ => facts
                    .backend
                    .map_or_else(String::new, |backend| format!("to {backend}")),
            },
            request_id: facts.request_id.to_owned(),
        });
    }
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    with_timestamp(*time, |text| serializer.serialize_str(text))
}

fn cap(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

fn capped<S: serde::Serializer>(text: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(cap(text))
}

fn capped_option<S: serde::Serializer>(
    text: &Option<&str>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    text.map(cap).serialize(serializer)
}

fn millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e3)
}

fn millis_option<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| (duration.as_secs_f64() * 1e6).round() / 1e3)
        .serialize(serializer)
}
