//! The one canonical view of a request.
//!
//! Router, access lists, WAF, log and backend all see what is computed here,
//! once. What is ambiguous is refused with 400; nothing is guessed.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, HeaderName, Method, Version, header};
use memchr::memchr_iter;
use pingora::http::RequestHeader;
use portcullis_config::{
    access::client_address,
    model::ListenerLimits,
    route::{PathProblem, canonical_host, canonical_path},
};

use super::{Refusal, Session, Stage};
use crate::{listen::ConnectionFacts, snapshot::Snapshot, token::is_token_byte};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What the gateway knows of a request before it decides anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestView {
    /// Host, lower case, without port and trailing dot; empty for HTTP/1.0 without Host.
    pub host: String,
    /// Port beside the host; `None` where the client named none.
    pub port: Option<u16>,
    /// Canonical path, for every decision.
    pub path: String,
    /// A slash or backslash that is escaped in the path, where there is one.
    pub escaped_separator: Option<&'static str>,
    /// Target for the backend, with the client's own escapes, where it differs
    /// from what the client sent; else the raw target is forwarded.
    pub forward_target: Option<String>,
    /// The client.
    pub client: Option<IpAddr>,
    /// The peer of the connection.
    pub peer: Option<IpAddr>,
    /// Whether the peer is a trusted proxy.
    pub trusted: bool,
    /// Whether the client came over TLS, to this gateway or to a trusted proxy before it.
    pub secure: bool,
}

/// Computes the view, or says why there is none.
pub(super) fn normalise(
    session: &Session,
    snapshot: &Snapshot,
    facts: &ConnectionFacts,
) -> Result<RequestView, Refusal> {
    let request = session.req_header();
    check_head(session, &facts.settings.load().limits)?;
    let (raw_path, query, authority) = split_target(request)?;
    let (host, port) = host_of(request, authority)?;
    let canonical = canonical_path(raw_path).map_err(|problem| refuse(problem.reason()))?;

    let forward_target = match (authority, canonical.forward()) {
        (None, forward) if forward.as_bytes() == raw_path => None,
        (_, forward) => {
            let mut target = forward.to_owned();
            if let Some(query) = query {
                target.push('?');
                target.push_str(&String::from_utf8_lossy(query));
            }
            Some(target)
        }
    };
    let peer = facts.client.ip().to_canonical();
    let lines = request.headers.get_all(X_FORWARDED_FOR);
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    let client = client_address(peer, lines, snapshot.trusted_proxies());
    let trusted = snapshot.trusted_proxies().contains(peer);
    let told = trusted.then(|| told_scheme(&request.headers)).flatten();
    Ok(RequestView {
        host: host.into_owned(),
        port,
        path: canonical.canonical().to_owned(),
        escaped_separator: canonical.escaped_separator().map(PathProblem::reason),
        forward_target,
        client: Some(client),
        peer: Some(facts.peer.ip().to_canonical()),
        trusted,
        secure: told.unwrap_or(facts.tls.is_some()),
    })
}

/// Whether `X-Forwarded-Proto` tells of TLS. Of several values the last counts: it is of
/// the proxy that is trusted, and what is before it may be a client's.
fn told_scheme(headers: &HeaderMap) -> Option<bool> {
    let line = headers.get_all(X_FORWARDED_PROTO).iter().next_back()?;
    let last = line.to_str().ok()?.rsplit(',').next()?.trim();
    match last.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

fn refuse(reason: &'static str) -> Refusal {
    Refusal::new(400, Stage::Normalise, reason)
}

/// Refuses heads that are too large, and framing that a backend may read otherwise.
fn check_head(session: &Session, limits: &ListenerLimits) -> Result<(), Refusal> {
    let request = session.req_header();
    if request.headers.len() > limits.max_headers as usize {
        return Err(Refusal::new(431, Stage::Normalise, "too-many-headers"));
    }
    if let Some(h1) = session.as_http1() {
        let raw = h1.get_headers_raw_bytes();
        if raw.len() as u64 > limits.max_header_size {
            return Err(Refusal::new(431, Stage::Normalise, "head-too-large"));
        }
        if has_bare_line_feed(&raw) {
            return Err(refuse("bare-line-feed"));
        }
        check_framing(request, &raw)?;
    } else {
        let size: usize = request
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        if (size + request.raw_path().len()) as u64 > limits.max_header_size {
            return Err(Refusal::new(431, Stage::Normalise, "head-too-large"));
        }
        let mut names = request.headers.keys();
        // The `http` crate takes a quote for a token here, and not over HTTP/1.
        if names.any(|name| !name.as_str().bytes().all(is_token_byte)) {
            return Err(refuse("malformed"));
        }
    }
    check_connection(&request.headers)?;
    if request.method == Method::CONNECT {
        // RFC 9110 section 9.3.6: 400 is for a target that no tunnel could have.
        if session.as_http1().is_some() && !is_authority_with_port(request.raw_path()) {
            return Err(refuse("bad-target"));
        }
        return Err(Refusal::new(405, Stage::Normalise, "connect-on-ingress"));
    }
    if request.method == Method::TRACE {
        return Err(Refusal::new(405, Stage::Normalise, "trace"));
    }
    Ok(())
}

/// Whether a target is in authority form, with a port (RFC 9112 section 3.2.3).
fn is_authority_with_port(target: &[u8]) -> bool {
    let text = std::str::from_utf8(target).ok();
    text.and_then(|text| canonical_host(text).ok())
        .is_some_and(|(_, port)| port.is_some())
}

/// Refuses a `Connection` field that would have a field taken away which others
/// rely on, or that names something which is no field (RFC 9110 section 7.6.1).
fn check_connection(headers: &HeaderMap) -> Result<(), Refusal> {
    for line in headers.get_all(header::CONNECTION) {
        for option in line.as_bytes().split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            let name = match HeaderName::from_bytes(option) {
                _ if option.is_empty() => continue,
                Ok(name) => name,
                Err(_) => return Err(refuse("bad-connection-option")),
            };
            if name == header::HOST || name.as_str().starts_with("x-forwarded-") {
                return Err(refuse("bad-connection-option"));
            }
        }
    }
    Ok(())
}

/// Refuses a body whose end two parsers may see in different places (RFC 9112 section 6.3).
///
/// pingora takes `Content-Length` away where `Transfer-Encoding` is there too, so
/// it is looked for in the bytes.
fn check_framing(request: &RequestHeader, raw: &[u8]) -> Result<(), Refusal> {
    const LENGTH: &[u8] = b"\ncontent-length:";
    let mut codings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(refuse("bad-transfer-encoding"));
    }
    if raw
        .windows(LENGTH.len())
        .any(|window| window.eq_ignore_ascii_case(LENGTH))
    {
        return Err(refuse("length-and-chunked"));
    }
    Ok(())
}

/// Tells whether a line feed stands without its carriage return (RFC 9112 section 2.2).
fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// The host that the target of a request names: `:authority` in HTTP/2, and what an
/// HTTP/1 target in absolute form has.
pub(crate) fn authority(request: &RequestHeader) -> Option<&str> {
    let absolute = split_target(request)
        .ok()
        .and_then(|(_, _, absolute)| absolute);
    absolute.or_else(|| request.uri.authority().map(|authority| authority.as_str()))
}

type Target<'a> = (&'a [u8], Option<&'a [u8]>, Option<&'a str>);

/// Splits the request target into path, query and, for absolute-form, authority.
fn split_target(request: &RequestHeader) -> Result<Target<'_>, Refusal> {
    let raw = request.raw_path();
    let (origin, authority) = if raw.first() == Some(&b'/') {
        (raw, None)
    } else if raw == b"*" && request.method == Method::OPTIONS {
        (&b"/"[..], None)
    } else {
        let text = std::str::from_utf8(raw).map_err(|_| refuse("bad-target"))?;
        let after = text
            .split_once("://")
            .filter(|(scheme, _)| {
                scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
            })
            .map(|(_, after)| after)
            .ok_or_else(|| refuse("bad-target"))?;
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let (authority, path) = after.split_at(end);
        match path.as_bytes().first() {
            None => (&b"/"[..], Some(authority)),
            Some(b'/') => (path.as_bytes(), Some(authority)),
            Some(_) => return Err(refuse("bad-target")),
        }
    };
    let (path, query) = match origin.iter().position(|&byte| byte == b'?') {
        Some(at) => (&origin[..at], Some(&origin[at + 1..])),
        None => (origin, None),
    };
    if query.is_some_and(|query| {
        query
            .iter()
            .any(|byte| byte.is_ascii_control() || *byte == b' ')
            // It could not be passed on as it is wherever the path is changed.
            || std::str::from_utf8(query).is_err()
    }) {
        return Err(refuse("bad-query"));
    }
    Ok((path, query, authority))
}

/// Finds the host and its port, which every part of the request that names one must agree on.
fn host_of<'a>(
    request: &'a RequestHeader,
    absolute: Option<&'a str>,
) -> Result<(Cow<'a, str>, Option<u16>), Refusal> {
    let mut lines = request.headers.get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(refuse("duplicate-host"));
    }
    let line = match line {
        // Who speaks HTTP/1.0 and has no name for the host may say so.
        Some(line) if line.is_empty() && request.version == Version::HTTP_10 => None,
        Some(line) => Some(line.to_str().map_err(|_| refuse("bad-host"))?),
        None => None,
    };
    let authority =
        absolute.or_else(|| request.uri.authority().map(|authority| authority.as_str()));
    let text = match (authority, line) {
        (Some(authority), Some(line)) if !authority.eq_ignore_ascii_case(line) => {
            return Err(refuse("host-mismatch"));
        }
        // HTTP/1.1 wants it beside a target in absolute form too (RFC 9112 section 3.2).
        (Some(_), None) if request.version == Version::HTTP_11 => {
            return Err(refuse("missing-host"));
        }
        (Some(authority), _) => authority,
        (None, Some(line)) => line,
        (None, None) if request.version == Version::HTTP_10 => {
            return Ok((Cow::Borrowed(""), None));
        }
        (None, None) => return Err(refuse("missing-host")),
    };
    canonical_host(text).map_err(|_| refuse("bad-host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, hosts: &[&str]) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for host in hosts {
            request.append_header("host", *host).unwrap();
        }
        request
    }

    #[test]
    fn targets_split() {
        let split = |method, target| {
            let request = request(method, target, &[]);
            split_target(&request).map(|(path, query, authority)| {
                (
                    String::from_utf8_lossy(path).into_owned(),
                    query.map(|query| String::from_utf8_lossy(query).into_owned()),
                    authority.map(str::to_owned),
                )
            })
        };
        assert_eq!(
            split("GET", "/a?b=?c"),
            Ok(("/a".into(), Some("b=?c".into()), None))
        );
        assert_eq!(
            split("GET", "http://h.test/a"),
            Ok(("/a".into(), None, Some("h.test".into())))
        );
        assert_eq!(
            split("GET", "http://h.test"),
            Ok(("/".into(), None, Some("h.test".into())))
        );
        assert_eq!(split("OPTIONS", "*"), Ok(("/".into(), None, None)));
        for bad in ["*", "ftp://h.test/a", "h.test:443"] {
            assert!(split("GET", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_must_agree() {
        let host = |hosts: &[&str], absolute| {
            host_of(&request("GET", "/", hosts), absolute)
                .map(|(host, port)| (host.into_owned(), port))
        };
        assert_eq!(
            host(&["Shop.Test:8080"], None),
            Ok(("shop.test".into(), Some(8080)))
        );
        assert_eq!(
            host(&["shop.test"], Some("SHOP.test")),
            Ok(("shop.test".into(), None))
        );
        assert_eq!(
            host(&["shop.test"], Some("other.test")).unwrap_err().reason,
            "host-mismatch"
        );
        assert_eq!(
            host(&["a.test", "a.test"], None).unwrap_err().reason,
            "duplicate-host"
        );
        assert_eq!(host(&[], None).unwrap_err().reason, "missing-host");
        assert_eq!(host(&["a b"], None).unwrap_err().reason, "bad-host");
    }

    #[test]
    fn the_last_proxy_tells_the_scheme() {
        let cases = [
            (&["https"][..], Some(true)),
            (&["HTTP"], Some(false)),
            (&["https, http"], Some(false)),
            (&["https", "http , wss"], Some(true)),
            (&["gopher"], None),
            (&["https,"], None),
            (&[], None),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_PROTO, line.parse().unwrap());
            }
            assert_eq!(told_scheme(&headers), expected, "{lines:?}");
        }
    }

    #[test]
    fn bare_line_feeds_are_seen() {
        assert!(!has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(b"GET / HTTP/1.1\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\n\r\n"));
        assert!(has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r\n\n"));
    }
}
