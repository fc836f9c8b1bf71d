//! The request as the backend gets it.

use http::{HeaderName, HeaderValue, header};
use pingora::{http::RequestHeader, proxy::Session};

use super::{context::RequestContext, headers::change_request, request_id::REQUEST_ID};
use crate::listen::address_value;

// Text, not `HeaderName`: pingora parses a name again, and copies what is not static.
const X_FORWARDED_FOR: &str = "X-Forwarded-For";
const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const X_FORWARDED_PORT: &str = "X-Forwarded-Port";
const X_REAL_IP: &str = "X-Real-IP";

/// Headers by which a client could claim to be somebody else, or to ask for
/// another path; backends and frameworks read them, so only a trusted proxy may
/// send them. CGI, WSGI and PHP take `_` for `-`, so both are looked for.
fn only_from_trusted(name: &str) -> bool {
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
    const FAMILIES: [&str; 4] = [
        "x-forwarded-",
        "ssl-client-",
        "x-ssl-client-",
        "x-client-cert",
    ];
    let alike = |known: &str, name: &str| {
        known.len() == name.len()
            && known
                .bytes()
                .zip(name.bytes())
                .all(|(known, byte)| known == byte || (known == b'-' && byte == b'_'))
    };
    NAMES.iter().any(|known| alike(known, name))
        || FAMILIES.iter().any(|known| {
            name.get(..known.len())
                .is_some_and(|start| alike(known, start))
        })
}

/// Prepares the request for the backend: facts that only the gateway knows, the
/// path that was judged, and the rule's changes.
pub(super) fn prepare(
    session: &Session,
    upstream: &mut RequestHeader,
    ctx: &RequestContext,
) -> pingora::Result<()> {
    forwarded_headers(session, upstream, ctx)?;
    upstream.insert_header(REQUEST_ID, &ctx.request_id)?;
    upstream.remove_header(&header::EXPECT);
    // CGI makes `HTTP_PROXY` of it, which many clients take for a setting (CVE-2016-5385).
    upstream.remove_header("proxy");

    let Some(rule) = &ctx.rule else { return Ok(()) };
    if let Some(target) = forward_target(ctx, upstream.raw_path()) {
        upstream.set_raw_path(target.as_bytes())?;
    }
    if let Some(host) = &rule.rule.rewrite_host {
        upstream.insert_header(header::HOST, host.clone())?;
        strip_authority(upstream);
    }
    change_request(upstream, &rule.rule.request_headers)
}

/// The target for the backend, where it is not what the client sent.
pub(super) fn forward_target(ctx: &RequestContext, raw: &[u8]) -> Option<String> {
    let rewrite = ctx
        .rule
        .as_ref()
        .and_then(|rule| rule.rule.rewrite_prefix.as_deref());
    match (rewrite, &ctx.view.forward_target) {
        (None, forward) => forward.clone(),
        (Some(prefix), Some(target)) => Some(replace_prefix(
            target,
            &ctx.view.path[..ctx.prefix_len],
            prefix,
        )),
        (Some(prefix), None) => {
            let target = String::from_utf8_lossy(raw);
            Some(replace_prefix(
                &target,
                &ctx.view.path[..ctx.prefix_len],
                prefix,
            ))
        }
    }
}

/// Replaces the leading segments that a prefix matched.
///
/// The prefix is canonical and the target keeps the client's escapes, so whole
/// segments are counted, not bytes: an encoded slash never gets here.
fn replace_prefix(target: &str, matched: &str, replacement: &str) -> String {
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let segments = matched.bytes().filter(|&byte| byte == b'/').count();
    let mut rest = path;
    for _ in 0..segments {
        rest = rest[1..].find('/').map_or("", |at| &rest[at + 1..]);
    }
    let mut out = String::with_capacity(replacement.len() + rest.len() + query.len() + 1);
    out.push_str(replacement);
    out.push_str(rest);
    if out.is_empty() {
        out.push('/');
    }
    out.push_str(query);
    out
}

/// Tells the backend who asked for what, as far as no trusted proxy told it before.
///
/// The port is the one that the client used: the listener's own is behind a
/// Service or a load balancer, and a link made with it would lead nowhere.
fn forwarded_headers(
    session: &Session,
    upstream: &mut RequestHeader,
    ctx: &RequestContext,
) -> pingora::Result<()> {
    let (Some(facts), Some(client)) = (&ctx.facts, ctx.view.client) else {
        return Ok(());
    };
    let peer = facts.client.ip().to_canonical();
    let client_request = session.req_header();
    if !ctx.view.trusted {
        let claimed: Vec<HeaderName> = client_request
            .headers
            .keys()
            .filter(|name| only_from_trusted(name.as_str()))
            .cloned()
            .collect();
        for name in &claimed {
            upstream.remove_header(name);
        }
        upstream.insert_header(X_FORWARDED_FOR, facts.client_value.clone())?;
    } else {
        let mut chain = String::new();
        for line in client_request.headers.get_all(X_FORWARDED_FOR) {
            chain.push_str(&String::from_utf8_lossy(line.as_bytes()));
            chain.push_str(", ");
        }
        chain.push_str(&peer.to_string());
        upstream.insert_header(X_FORWARDED_FOR, chain)?;
    }
    let real = if client == peer {
        facts.client_value.clone()
    } else {
        address_value(client)
    };
    upstream.insert_header(X_REAL_IP, real)?;
    let missing = |name: &str| !ctx.view.trusted || !client_request.headers.contains_key(name);
    if missing(X_FORWARDED_PROTO) {
        let proto = if facts.tls.is_some() { "https" } else { "http" };
        upstream.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(proto))?;
    }
    if missing(X_FORWARDED_HOST)
        && let Some(host) = host_value(client_request)
    {
        upstream.insert_header(X_FORWARDED_HOST, host)?;
    }
    if missing(X_FORWARDED_PORT) {
        let port = match (ctx.view.port, facts.tls.is_some()) {
            (Some(port), _) => port.into(),
            (None, true) => HeaderValue::from_static("443"),
            (None, false) => HeaderValue::from_static("80"),
        };
        upstream.insert_header(X_FORWARDED_PORT, port)?;
    }
    Ok(())
}

/// The host that the client asked for, as it wrote it, its port included.
fn host_value(request: &RequestHeader) -> Option<HeaderValue> {
    match request.headers.get(header::HOST) {
        Some(host) => Some(host.clone()),
        None => HeaderValue::from_str(request.uri.authority()?.as_str()).ok(),
    }
}

/// Leaves the authority to the Host header.
fn strip_authority(upstream: &mut RequestHeader) {
    let Some(target) = upstream.uri.path_and_query().cloned() else {
        return;
    };
    if upstream.uri.authority().is_some() {
        upstream.set_uri(http::Uri::from(target));
    }
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

    #[test]
    fn prefixes_are_replaced_by_whole_segments() {
        let cases = [
            ("/api/x?y=%20", "/api", "/v2", "/v2/x?y=%20"),
            ("/api", "/api", "/v2", "/v2"),
            ("/api", "/api", "", "/"),
            ("/api/", "/api", "", "/"),
            ("/api?a=/b", "/api", "", "/?a=/b"),
            ("/a%70i/k%24v", "/api", "/v2", "/v2/k%24v"),
            ("/x/y", "", "/v2", "/v2/x/y"),
            ("/a/b/c", "/a/b", "", "/c"),
        ];
        for (target, matched, replacement, expected) in cases {
            assert_eq!(
                replace_prefix(target, matched, replacement),
                expected,
                "{target} {matched} {replacement}"
            );
        }
    }
}
