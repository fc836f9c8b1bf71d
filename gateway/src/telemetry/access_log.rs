//! The access log: one JSON line for each request.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use crate::tls::ClientCertificate;

use super::{Decision, Decisions, LogWriter, json_line::JsonLine, timestamp::with_timestamp};

/// Bytes of a client's text (path, query, user agent) that a line keeps.
const MAX_TEXT: usize = 512;

/// What the log tells of one request.
///
/// Bodies, cookies and authorization headers are never logged.
#[derive(Clone, Debug)]
pub struct RequestFacts<'a> {
    /// When it began, RFC 3339 with milliseconds.
    pub time: SystemTime,
    /// The request's id.
    pub request_id: &'a str,
    /// Listener it came in on.
    pub listener: &'a str,
    /// The client, found through trusted proxies.
    pub client: Option<IpAddr>,
    /// The peer of the connection, where it is another.
    pub peer: Option<IpAddr>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'static str,
    /// TLS facts, where there is TLS.
    pub tls: Option<TlsFacts<'a>>,
    /// Method, as sent.
    pub method: &'a str,
    /// Canonical host; as sent where there is none.
    pub host: &'a str,
    /// Canonical path, the raw one where there is none; values of secrets are masked.
    pub path: &'a str,
    /// Query as sent, with the values of secrets masked.
    pub query: Option<&'a str>,
    /// Status sent; 0 where none was.
    pub status: u16,
    /// Bytes of request body.
    pub bytes_in: u64,
    /// Bytes of response body.
    pub bytes_out: u64,
    /// Milliseconds from head to end.
    pub duration: Duration,
    /// Rule it took.
    pub rule: Option<&'a str>,
    /// Backend it went to.
    pub backend: Option<&'a str>,
    /// Endpoint it went to.
    pub endpoint: Option<SocketAddr>,
    /// Endpoints that were tried, where more than one.
    pub attempts: Option<u32>,
    /// Milliseconds until the endpoint's response head.
    pub upstream: Option<Duration>,
    /// Name of the client, where it was asked and has one.
    pub user: Option<&'a str>,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// `pass`, `detected` or `blocked`, where the WAF looked.
    pub waf: Option<&'static str>,
    /// The part of the gateway that answered itself: `route`, `access`, `limit`, `waf`, ...
    pub refused_by: Option<&'static str>,
    /// Why.
    pub reason: Option<&'static str>,
    /// Name of the list, limit, rule or backend that decided.
    pub decided_by: Option<&'a str>,
}

/// TLS facts of a request's connection.
#[derive(Clone, Copy, Debug)]
pub struct TlsFacts<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'a str,
    /// Server name that the client asked for.
    pub sni: Option<&'a str>,
    /// The certificate that the client has shown.
    pub client: Option<&'a ClientCertificate>,
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

    /// Where decisions are shown.
    pub(super) fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// Tells whether anybody reads, so that facts need not be gathered for nobody.
    pub fn is_read(&self) -> bool {
        !self.writer.is_off() || self.decisions.is_watched()
    }

    /// Writes one request.
    pub fn write(&self, facts: &RequestFacts<'_>) {
        if !self.writer.is_off() {
            self.writer.write(line(facts).as_bytes());
        }
        self.decisions.tell(|| Decision {
            inbound: true,
            allowed: facts.refused_by.is_none(),
            status: facts.status,
            subject: format!("{} {}{}", facts.method, facts.host, cap(facts.path)),
            reason: match (facts.refused_by, facts.reason, facts.decided_by) {
                (Some(stage), Some(reason), Some(by)) => format!("{stage}/{reason} ({by})"),
                (Some(stage), Some(reason), None) => format!("{stage}/{reason}"),
                _ => {
                    let to = facts
                        .backend
                        .map_or_else(String::new, |backend| format!("to {backend}"));
                    match facts.waf {
                        Some("detected") => format!("{to}, the WAF would have refused it"),
                        _ => to,
                    }
                }
            },
            request_id: facts.request_id.to_owned(),
        });
    }
}

/// Bytes that most lines fit in.
const USUAL_LINE: usize = 512;

fn line(facts: &RequestFacts<'_>) -> String {
    let mut line = JsonLine::with_capacity(USUAL_LINE);
    with_timestamp(facts.time, |time| {
        line.text("time", time);
    });
    line.text("requestId", facts.request_id)
        .text("listener", facts.listener);
    if let Some(client) = facts.client {
        line.address("client", client);
    }
    if let Some(peer) = facts.peer {
        line.address("peer", peer);
    }
    line.text("protocol", facts.protocol);
    if let Some(tls) = &facts.tls {
        line.object("tls", |line| {
            line.text("version", tls.version)
                .text_or_none("sni", tls.sni);
            if let Some(client) = tls.client {
                line.object("client", |line| {
                    line.text("subject", cap(&client.subject))
                        .text("issuer", cap(&client.issuer))
                        .text("serial", &client.serial)
                        .text("fingerprint", &client.fingerprint)
                        .text("names", cap(&client.names.join(",")));
                    if !client.verified {
                        line.boolean("verified", false);
                    }
                });
            }
        });
    }
    line.text("method", facts.method)
        .text("host", cap(facts.host))
        .text("path", cap(facts.path))
        .text_or_none("query", facts.query.map(cap))
        .number("status", facts.status.into())
        .number("bytesIn", facts.bytes_in)
        .number("bytesOut", facts.bytes_out)
        .millis("durationMs", facts.duration)
        .text_or_none("rule", facts.rule)
        .text_or_none("backend", facts.backend);
    if let Some(endpoint) = facts.endpoint {
        line.socket("endpoint", endpoint);
    }
    if let Some(attempts) = facts.attempts {
        line.number("attempts", attempts.into());
    }
    if let Some(upstream) = facts.upstream {
        line.millis("upstreamMs", upstream);
    }
    line.text_or_none("user", facts.user.map(cap))
        .text_or_none("userAgent", facts.user_agent.map(cap))
        .text_or_none("waf", facts.waf)
        .text_or_none("refusedBy", facts.refused_by)
        .text_or_none("reason", facts.reason)
        .text_or_none("decidedBy", facts.decided_by);
    line.end()
}

pub(super) fn cap(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}
