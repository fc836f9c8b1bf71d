//! HTTP to transaction, verdict to response.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, Version, header};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    protocols::http::ServerSession as Session,
};
use portcullis_waf::{Connection, InterruptionAction, Transaction, TransactionOptions, Verdict};

use super::limits::limits;
use crate::{
    ingress::{Refusal, Stage, authority, is_grpc},
    listen::ConnectionFacts,
    snapshot::CompiledWaf,
};

/// What the WAF made of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WafOutcome {
    /// It did not look.
    #[default]
    None,
    /// Nothing to object to.
    Pass,
    /// It would have been refused; the profile only detects.
    Detected,
    /// It was refused.
    Blocked,
}

impl WafOutcome {
    /// The name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Detected => "detected",
            Self::Blocked => "blocked",
        }
    }
}

/// Begins a transaction and gives it the request head. `forwarded` is the target
/// for the backend, where it is not what the client sent.
pub(crate) fn begin(
    waf: &CompiledWaf,
    session: &Session,
    facts: &ConnectionFacts,
    client: std::net::IpAddr,
    forwarded: Option<&str>,
    request_id: &str,
    time: SystemTime,
) -> Transaction {
    let mut transaction =
        Transaction::begin(Arc::clone(&waf.rules), options(waf, request_id, time));
    transaction.connection(Connection {
        client,
        client_port: facts.client.port(),
        server: facts.local.ip().to_canonical(),
        server_port: facts.local.port(),
    });
    let request = session.req_header();
    transaction.request_line(
        request.method.as_str().as_bytes(),
        request.raw_path(),
        protocol(request.version),
    );
    if let Some(forwarded) = forwarded {
        transaction.forwarded_target(forwarded.as_bytes());
    }
    request_headers(&mut transaction, request);
    transaction
}

/// How a transaction runs under a profile.
pub(crate) fn options(waf: &CompiledWaf, request_id: &str, time: SystemTime) -> TransactionOptions {
    let mut options = TransactionOptions::new(waf.mode, request_id.to_owned(), time);
    options.secrets = Arc::clone(&waf.secrets);
    options.collections = Some(Arc::clone(&waf.collections));
    options.limits = limits(&waf.profile);
    options
}

fn request_headers(transaction: &mut Transaction, request: &RequestHeader) {
    // Routes take the host of the target where there is no other, and the backend gets it as
    // Host: so do rules.
    if !request.headers.contains_key(header::HOST)
        && let Some(authority) = authority(request)
    {
        transaction.request_header(b"host", authority.as_bytes());
    }
    let cookies = joined_cookies(&request.headers);
    let of_its_own = |name: &HeaderName| cookies.is_none() || name != header::COOKIE;
    if request.has_case() {
        // As the client spells them, so that records do too. Both iterate in the same
        // order: pingora-http fills them side by side.
        let spelled = request.case_header_iter();
        for ((name, value), (spelled, _)) in request.headers.iter().zip(spelled) {
            if of_its_own(name) {
                transaction.request_header(spelled.as_slice(), value.as_bytes());
            }
        }
    } else {
        for (name, value) in request.headers.iter().filter(|(name, _)| of_its_own(name)) {
            transaction.request_header(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if let Some(cookies) = cookies {
        transaction.request_header(b"cookie", &cookies);
    }
}

/// The cookies of a request that has them in several fields, as one: HTTP/2
/// clients send them so, and who has only HTTP/1 reads one (RFC 9113 section 8.2.3).
pub(crate) fn joined_cookies(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (first, second) = (lines.next()?, lines.next()?);
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    Some(joined)
}

/// Gives a transaction the response head and runs phase 3.
pub(crate) fn response_head(transaction: &mut Transaction, response: &ResponseHeader) -> Verdict {
    transaction.response_head(response.status.as_u16(), protocol(response.version));
    for (name, value) in &response.headers {
        transaction.response_header(name.as_str().as_bytes(), value.as_bytes());
    }
    transaction.response_headers_end()
}

/// The answer to an interruption; `None` where the request goes on.
pub(crate) fn refusal_of(verdict: Verdict) -> Option<Refusal> {
    let Verdict::Interrupt(interruption) = verdict else {
        return None;
    };
    let mut refusal = Refusal::new(interruption.status, Stage::Waf, "blocked");
    match interruption.action {
        InterruptionAction::Deny => {}
        InterruptionAction::Drop => refusal.reason = "dropped",
        InterruptionAction::Redirect(location) => {
            refusal.reason = "redirected";
            refusal.location = Some(location);
        }
    }
    Some(match interruption.rule {
        Some(rule) => refusal.by(rule.to_string()),
        None => refusal.by("limit"),
    })
}

/// Tells whether a body has no end that could be waited for.
///
/// An upgraded connection has no body of its own; a request that announces both
/// is inspected like any other. gRPC over HTTP/2 streams both ways, and counts
/// only where the backends speak it.
pub(crate) fn request_body_is_opaque(session: &Session, grpc_backends: bool) -> bool {
    let headers = &session.req_header().headers;
    if session.is_upgrade_req() {
        return !headers.contains_key(header::CONTENT_LENGTH)
            && !headers.contains_key(header::TRANSFER_ENCODING);
    }
    grpc_backends && session.is_http2() && is_grpc(headers)
}

/// Name of an HTTP version in rules and logs.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}
