//! The request as the backend gets it.
//!
//! It is written field by field from the client's own head: nothing is copied
//! into a head in between, and a name keeps the spelling that the client gave it.

use std::{borrow::Cow, io::Write};

use http::{HeaderMap, HeaderName, Method, header};
use pingora::http::RequestHeader;

use super::{RequestContext, Session, context::HeldBody, headers::alike, request_id::REQUEST_ID};
use crate::{
    hop_by_hop::{is_hop_by_hop, listed_in_connection},
    inspect::{self, joined_cookies},
    snapshot::CompiledRule,
    upstream::{Connection, Fault, Fields, Framing, RequestLine},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How the request to the backend is framed; the same for each attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framed {
    /// The body.
    pub(super) framing: Framing,
    /// Whether an upgrade is asked for.
    pub(super) upgrade: bool,
}

impl Framed {
    /// Frames what the client sends, as far as it is known by now.
    pub(super) fn of(session: &mut Session, ctx: &RequestContext, upgrade: bool) -> Self {
        let announced = inspect::content_length(session);
        let framing = match &ctx.held {
            _ if upgrade => Framing::None,
            // The length is known now, whatever the client's framing was.
            HeldBody::Whole(body, _) => Framing::Length(body.len() as u64),
            _ => match announced {
                Some(length) => Framing::Length(length),
                None if session.is_body_empty() => Framing::None,
                None => Framing::Unknown,
            },
        };
        Self { framing, upgrade }
    }
}

/// Queues the head of the request: the path that was judged, the client's fields
/// without those of its connection, what only the gateway knows, and the rule's
/// changes.
///
/// # Errors
/// When the connection cannot carry it.
pub(super) fn send_head(
    connection: &mut Connection,
    session: &Session,
    ctx: &RequestContext,
    rule: &CompiledRule,
    framed: &Framed,
) -> Result<(), Fault> {
    let request = session.req_header();
    let to_http2 = matches!(connection, Connection::Http2(_));
    let host = host(request, ctx, rule);
    let line = RequestLine {
        method: &request.method,
        target: target(request, ctx),
        authority: &host,
        framing: framed.framing,
        upgrade: framed.upgrade,
    };
    connection.send_head(line, |out| {
        put_fields(&host, request, ctx, rule, out);
        if !framed.upgrade && !to_http2 && closes(ctx) {
            out.put(&header::CONNECTION, b"Connection", b"close");
        }
        if framed.upgrade {
            out.put(&header::CONNECTION, b"Connection", b"Upgrade");
            for protocol in request.headers.get_all(header::UPGRADE) {
                out.put(&header::UPGRADE, b"Upgrade", protocol.as_bytes());
            }
        }
        if to_http2 && accepts_trailers(&request.headers) {
            out.put(&header::TE, b"TE", b"trailers");
        }
    })
}

/// Keeps the head for a copy of the request, that is sent by itself.
pub(super) fn copy_head(session: &Session, ctx: &RequestContext, rule: &CompiledRule) -> HeadCopy {
    let request = session.req_header();
    let host = host(request, ctx, rule);
    let mut fields = FieldCopies::default();
    put_fields(&host, request, ctx, rule, &mut fields);
    HeadCopy {
        method: request.method.clone(),
        target: target(request, ctx).to_vec(),
        host: host.into_owned(),
        fields,
    }
}

/// A request head that outlives its request.
#[derive(Debug)]
pub(super) struct HeadCopy {
    method: Method,
    target: Vec<u8>,
    host: Vec<u8>,
    fields: FieldCopies,
}

#[derive(Debug, Default)]
struct FieldCopies(Vec<FieldCopy>);

#[derive(Debug)]
struct FieldCopy {
    name: HeaderName,
    spelled: Vec<u8>,
    value: Vec<u8>,
}

impl Fields for FieldCopies {
    fn put(&mut self, name: &HeaderName, spelled: &[u8], value: &[u8]) {
        self.0.push(FieldCopy {
            name: name.clone(),
            spelled: spelled.to_vec(),
            value: value.to_vec(),
        });
    }
}

impl HeadCopy {
    /// Whether the request may be made again (RFC 9110 section 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// Queues the head.
    ///
    /// # Errors
    /// When the connection cannot carry it.
    pub(super) fn send(&self, connection: &mut Connection, framing: Framing) -> Result<(), Fault> {
        let line = RequestLine {
            method: &self.method,
            target: &self.target,
            authority: &self.host,
            framing,
            upgrade: false,
        };
        connection.send_head(line, |out| {
            for field in &self.fields.0 {
                out.put(&field.name, &field.spelled, &field.value);
            }
        })
    }
}

/// The target for the backend.
fn target<'r>(request: &'r RequestHeader, ctx: &'r RequestContext) -> &'r [u8] {
    let target = ctx.rewritten.as_ref().or(ctx.view.forward_target.as_ref());
    target.map_or(request.raw_path(), String::as_bytes)
}

/// The host for the backend.
fn host<'r>(
    request: &'r RequestHeader,
    ctx: &RequestContext,
    rule: &'r CompiledRule,
) -> Cow<'r, [u8]> {
    match (&rule.rule.rewrite_host, host_value(request)) {
        (Some(host), _) => Cow::Borrowed(host.as_bytes()),
        (None, Some(host)) => Cow::Borrowed(host),
        // HTTP/1.1 wants a Host; a client that speaks HTTP/1.0 may have none.
        (None, None) => Cow::Owned(host_without_field(ctx).into_bytes()),
    }
}

/// Puts every field but those of the connection.
fn put_fields(
    host: &[u8],
    request: &RequestHeader,
    ctx: &RequestContext,
    rule: &CompiledRule,
    out: &mut dyn Fields,
) {
    out.put(&header::HOST, b"Host", host);
    client_fields(request, ctx, rule, out);
    let changes = &rule.rule.request_headers;
    let mut tell = |name: &HeaderName, spelled: &[u8], value: &[u8]| {
        // The rule has the last word.
        if !changes.remove.contains(name) && !changes.set.iter().any(|(set, _)| set == name) {
            out.put(name, spelled, value);
        }
    };
    if let Some(identity) = &ctx.identity {
        for (name, value) in &identity.headers {
            tell(name, &spelled(name), value.as_bytes());
        }
    }
    forwarded_fields(request, ctx, &mut tell);
    for (name, value) in changes.set.iter().chain(&changes.add) {
        out.put(name, &spelled(name), value.as_bytes());
    }
}

/// Passes on the fields of the client that are not of its connection, not the
/// gateway's to say, and not for the rule to change.
fn client_fields(
    request: &RequestHeader,
    ctx: &RequestContext,
    rule: &CompiledRule,
    out: &mut dyn Fields,
) {
    let changes = &rule.rule.request_headers;
    let listed = listed_in_connection(&request.headers);
    let cookies = joined_cookies(&request.headers);
    let crumbled = cookies.is_some();
    // What is coded cannot be read by rules.
    let plain = ctx
        .waf
        .as_ref()
        .is_some_and(|transaction| transaction.inspects_response_body());
    let client_headers = client_headers(ctx);
    let ends_here = |name: &HeaderName| {
        is_ours(name.as_str())
            || (client_headers.is_some() && tells_of_certificate(name.as_str()))
            || (!ctx.view.trusted && only_from_trusted(name.as_str()))
            || (crumbled && name == header::COOKIE)
            || (plain && name == header::ACCEPT_ENCODING)
            || listed.contains(name)
            || (!rule.identity_headers.is_empty() && is_identity(name, rule))
            || changes.remove.contains(name)
            || changes.set.iter().any(|(set, _)| set == name)
    };
    if request.has_case() {
        // Both iterate in the same order: pingora-http fills them side by side.
        let spelled = request.case_header_iter();
        for ((name, value), (spelled, _)) in request.headers.iter().zip(spelled) {
            if !ends_here(name) {
                out.put(name, spelled.as_slice(), value.as_bytes());
            }
        }
    } else {
        for (name, value) in &request.headers {
            if !ends_here(name) {
                out.put(name, name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
    let changed = changes.remove.contains(&header::COOKIE)
        || changes.set.iter().any(|(set, _)| set == header::COOKIE);
    if let Some(cookies) = cookies.filter(|_| !changed) {
        out.put(&header::COOKIE, b"Cookie", &cookies);
    }
}

/// Whether a field would tell the backend who the client is, which is not the
/// client's to say. CGI, WSGI and PHP take `_` for `-`.
pub(super) fn is_identity(name: &HeaderName, rule: &CompiledRule) -> bool {
    let mut known = rule.identity_headers.iter();
    known.any(|known| alike(known.as_str(), name.as_str()))
}

/// Whether a field is of the connection, or one that the gateway writes itself.
pub(super) fn is_ours(name: &str) -> bool {
    if name.contains('_') {
        // CGI, WSGI and PHP take `_` for `-`: `content_length` is another length to them.
        return is_ours(&name.replace('_', "-"));
    }
    match name.as_bytes().first() {
        Some(b'c' | b'h' | b'k' | b't' | b'u') => {
            is_hop_by_hop(name) || matches!(name, "content-length" | "host")
        }
        Some(b'e') => name == "expect",
        // CGI makes `HTTP_PROXY` of `Proxy`, which many clients take for a setting
        // (CVE-2016-5385).
        Some(b'p') => is_hop_by_hop(name) || name == "proxy",
        Some(b'x') => matches!(
            name,
            "x-forwarded-for" | "x-forwarded-proto" | "x-real-ip" | "x-request-id"
        ),
        _ => false,
    }
}

/// Whether the backend's connections are for one request each.
fn closes(ctx: &RequestContext) -> bool {
    let backend = ctx.backend.as_ref();
    backend.is_some_and(|backend| backend.backend.keepalive.is_zero())
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|line| {
        line.to_str().is_ok_and(|line| {
            line.split(',')
                .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
        })
    })
}

/// Tells the backend who asked for what, as far as no trusted proxy told it before.
///
/// The port is the one that the client used: the listener's own is behind a
/// Service or a load balancer, and a link made with it would lead nowhere.
pub(super) fn forwarded_fields(
    request: &RequestHeader,
    ctx: &RequestContext,
    mut tell: impl FnMut(&HeaderName, &[u8], &[u8]),
) {
    for (name, value) in client_headers(ctx).into_iter().flatten() {
        tell(name, name.as_str().as_bytes(), value);
    }
    tell(
        &X_REQUEST_ID,
        REQUEST_ID.as_bytes(),
        ctx.request_id.as_bytes(),
    );
    let (facts, Some(client)) = (&ctx.facts, ctx.view.client) else {
        return;
    };
    let peer = facts.client.ip().to_canonical();
    if ctx.view.trusted {
        let mut chain = Vec::new();
        for line in request.headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(line.as_bytes());
            chain.extend_from_slice(b", ");
        }
        // Writing into a Vec does not fail.
        let _ = write!(chain, "{peer}");
        tell(&X_FORWARDED_FOR, b"X-Forwarded-For", &chain);
    } else {
        let peer = facts.client_value.as_bytes();
        tell(&X_FORWARDED_FOR, b"X-Forwarded-For", peer);
    }
    if client == peer {
        tell(&X_REAL_IP, b"X-Real-IP", facts.client_value.as_bytes());
    } else {
        tell(&X_REAL_IP, b"X-Real-IP", client.to_string().as_bytes());
    }
    let missing = |name: &HeaderName| !ctx.view.trusted || !request.headers.contains_key(name);
    let secure = ctx.view.secure;
    // One value, of the scheme that everything here went by.
    let proto: &[u8] = if secure { b"https" } else { b"http" };
    tell(&X_FORWARDED_PROTO, b"X-Forwarded-Proto", proto);
    if missing(&X_FORWARDED_HOST)
        && let Some(host) = host_value(request)
    {
        tell(&X_FORWARDED_HOST, b"X-Forwarded-Host", host);
    }
    if missing(&X_FORWARDED_PORT) {
        let port = ctx.view.port.unwrap_or(if secure { 443 } else { 80 });
        let port = itoa::Buffer::new().format(port).to_owned();
        tell(&X_FORWARDED_PORT, b"X-Forwarded-Port", port.as_bytes());
    }
}

/// What the connection says of its client's certificate; `None` where it asks for none.
pub(super) fn client_headers(ctx: &RequestContext) -> Option<&[(HeaderName, Vec<u8>)]> {
    let tls = ctx.facts.tls.as_ref()?;
    tls.asks_for_certificate.then_some(&tls.client_headers)
}

/// The host of a request that has no field for it: that of its target, or the
/// endpoint's own.
fn host_without_field(ctx: &RequestContext) -> String {
    match (ctx.view.host.as_str(), ctx.view.port, ctx.endpoint) {
        ("", _, Some(endpoint)) => endpoint.to_string(),
        (host, Some(port), _) => format!("{host}:{port}"),
        (host, None, _) => host.to_owned(),
    }
}

/// The host that the client asked for, as it wrote it, its port included.
fn host_value(request: &RequestHeader) -> Option<&[u8]> {
    match request.headers.get(header::HOST) {
        Some(host) if !host.is_empty() => Some(host.as_bytes()),
        _ => Some(request.uri.authority()?.as_str().as_bytes()),
    }
}

/// A name as people write it: some backends compare names by their letters.
fn spelled(name: &HeaderName) -> Vec<u8> {
    let mut spelled = name.as_str().as_bytes().to_vec();
    for word in spelled.split_mut(|&byte| byte == b'-') {
        if let Some(first) = word.first_mut() {
            first.make_ascii_uppercase();
        }
    }
    spelled
}

/// Headers by which a client could claim to be somebody else, or to ask for
/// another path; backends and frameworks read them, so only a trusted proxy may
/// send them. CGI, WSGI and PHP take `_` for `-`, so both are looked for.
pub(super) fn only_from_trusted(name: &str) -> bool {
    if !matches!(
        name.as_bytes().first(),
        Some(b'c' | b'f' | b's' | b't' | b'x')
    ) {
        return false;
    }
    const NAMES: [&str; 18] = [
        "forwarded",
        "x-forwarded",
        "x-original-forwarded-for",
        "x-original-host",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-scheme",
        "x-url-scheme",
        "true-client-ip",
        "client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
        "front-end-https",
    ];
    NAMES.iter().any(|known| alike(known, name))
        || starts_alike("x-forwarded-", name)
        || tells_of_certificate(name)
}

/// Whether a header tells of a client's certificate; where the gateway asks for
/// one itself, not even a trusted proxy may send it.
pub(super) fn tells_of_certificate(name: &str) -> bool {
    const FAMILIES: [&str; 4] = [
        "ssl-client-",
        "x-ssl-client-",
        "x-client-cert",
        "x-forwarded-client-cert",
    ];
    matches!(name.as_bytes().first(), Some(b's' | b'x'))
        && FAMILIES.iter().any(|known| starts_alike(known, name))
}

fn starts_alike(known: &str, name: &str) -> bool {
    name.get(..known.len())
        .is_some_and(|start| alike(known, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_a_client_are_known_in_any_spelling() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_client-cert",
            "x-real-ip",
            "x_real_ip",
            "ssl-client-verify",
            "ssl_client_s_dn",
            "x-original-uri",
        ] {
            assert!(only_from_trusted(name), "{name}");
        }
        for name in [
            "x-forwarder",
            "x-real",
            "host",
            "x-request-id",
            "forward",
            "",
        ] {
            assert!(!only_from_trusted(name), "{name}");
        }
    }
}
