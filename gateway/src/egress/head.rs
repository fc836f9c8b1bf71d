//! A request head, from raw bytes and within bounds.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use http::Uri;
use portcullis_config::egress::Authority;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{credentials::Credentials, overrides::overriding};
use crate::listen::Body;

/// Header fields in one head.
const MAX_HEADERS: usize = 100;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A tunnel.
    Connect(Authority),
    /// A plain HTTP request in absolute form.
    Http {
        /// The destination.
        authority: Authority,
        /// Method.
        method: String,
        /// The method that a field asks for.
        overriding: Option<String>,
        /// Path and query, for the destination.
        target: String,
    },
}

/// A request for an origin server, as one inside a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OriginRequest {
    /// The one `Host`; of HTTPS where it names no port.
    pub(super) authority: Authority,
    /// Method.
    pub(super) method: String,
    /// The method that a field asks for.
    pub(super) overriding: Option<String>,
    /// Path and query, as they were sent.
    pub(super) target: String,
}

/// What a request line and the fields beside it say.
struct Line<'a> {
    method: &'a [u8],
    target: &'a [u8],
    host: Option<&'a [u8]>,
    body: Body,
    /// The method that a field asks for.
    overriding: Option<String>,
}

/// A head that was understood, or why not.
#[derive(Debug)]
pub(super) enum Head<A = Ask> {
    /// The client closed before it asked for anything.
    Closed,
    /// A good head; its bytes are still in the buffer.
    Ask {
        /// What it asks for.
        ask: A,
        /// By what the client shows who it is.
        credentials: Credentials,
        /// Bytes of the head.
        length: usize,
        /// The body that follows it.
        body: Body,
        /// Whether another request may follow on the connection.
        persists: bool,
    },
    /// A bad one.
    Bad {
        /// Stable reason code.
        reason: &'static str,
        /// Status for the client.
        status: u16,
    },
}

/// Reads a head into the buffer, which may hold its beginning.
///
/// # Errors
/// Those of the socket, and a head that takes too long.
pub(super) async fn read_head<R: AsyncRead + Unpin>(
    client: &mut R,
    buffer: &mut BytesMut,
    max_bytes: usize,
    timeout: Duration,
) -> io::Result<Head> {
    read(client, buffer, (max_bytes, timeout), ask_of_proxy).await
}

/// The same for a request inside TLS, whose target is in origin form.
///
/// # Errors
/// As above.
pub(super) async fn read_origin_head<R: AsyncRead + Unpin>(
    client: &mut R,
    buffer: &mut BytesMut,
    max_bytes: usize,
    timeout: Duration,
) -> io::Result<Head<OriginRequest>> {
    read(client, buffer, (max_bytes, timeout), origin_request).await
}

async fn read<R: AsyncRead + Unpin, A>(
    client: &mut R,
    buffer: &mut BytesMut,
    (max_bytes, timeout): (usize, Duration),
    form: fn(&Line<'_>) -> Result<A, &'static str>,
) -> io::Result<Head<A>> {
    let reading = async {
        // What was searched is not searched again: a client may send a byte at a time.
        let mut searched = 0;
        loop {
            // What begins so becomes no request: who speaks TLS or SOCKS here is not kept waiting.
            if buffer.first().is_some_and(|byte| !may_begin(*byte)) {
                return Ok(bad("bad_request_line", 400));
            }
            let end = head_end(buffer, searched);
            if end.unwrap_or(buffer.len()) > max_bytes {
                return Ok(bad("head_too_large", 431));
            }
            if let Some(end) = end {
                return Ok(parse(&buffer[..end], form));
            }
            searched = buffer.len().saturating_sub(3);
            if client.read_buf(buffer).await? == 0 {
                return if buffer.is_empty() {
                    Ok(Head::Closed)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    };
    match tokio::time::timeout(timeout, reading).await {
        Ok(head) => head,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Drops a head from the buffer.
pub(super) fn consume(buffer: &mut BytesMut, length: usize) {
    buffer.advance(length.min(buffer.len()));
}

/// Where a head ends: at an empty line, be it ended by a bare line feed. That one
/// is refused later, and must not be waited past.
pub(super) fn head_end(buffer: &[u8], from: usize) -> Option<usize> {
    let rest = &buffer[from..];
    let empty_line = |line: &[u8]| {
        rest.windows(line.len())
            .position(|window| window == line)
            .map(|at| from + at + line.len())
    };
    match (empty_line(b"\r\n\r\n"), empty_line(b"\n\n")) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether a method can begin with a byte, one of a token (RFC 9110 section 5.6.2).
fn may_begin(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn bad<A>(reason: &'static str, status: u16) -> Head<A> {
    Head::Bad { reason, status }
}

/// Reads a head; `form` judges its target, as whoever is asked takes it (RFC 9112 section 3.2).
fn parse<A>(head: &[u8], form: fn(&Line<'_>) -> Result<A, &'static str>) -> Head<A> {
    let bare = |(at, &byte): (usize, &u8)| byte == b'\n' && (at == 0 || head[at - 1] != b'\r');
    if head.iter().enumerate().any(bare) {
        return bad("bad_line_ending", 400);
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return bad("bad_request_line", 400);
    };
    if !matches!(*version, b"HTTP/1.1" | b"HTTP/1.0")
        || target.iter().any(|byte| byte.is_ascii_control())
    {
        return bad("bad_request_line", 400);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    // The target is judged below, byte by byte; the parser gets one that it accepts.
    let mut plain = Vec::with_capacity(head.len());
    plain.extend_from_slice(method);
    plain.extend_from_slice(b" / ");
    plain.extend_from_slice(version);
    plain.extend_from_slice(&head[line.len()..]);
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&plain) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return bad("too_many_headers", 431),
        Ok(httparse::Status::Partial) | Err(_) => return bad("bad_head", 400),
    }
    let values = |name: &str| -> Vec<&[u8]> {
        request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
            .collect()
    };
    let (lengths, codings, hosts) = (
        values("content-length"),
        values("transfer-encoding"),
        values("host"),
    );
    let one_length = lengths.len() <= 1
        && lengths.iter().all(|value| {
            !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit)
        });
    let one_coding = codings.len() <= 1
        && codings
            .iter()
            .all(|value| value.eq_ignore_ascii_case(b"chunked"));
    if !one_length
        || !one_coding
        || !lengths.is_empty() && !codings.is_empty()
        || !codings.is_empty() && *version == b"HTTP/1.0"
    {
        return bad("bad_framing", 400);
    }
    if hosts.len() > 1 {
        return bad("duplicate_host", 400);
    }
    let fields = request.headers.iter();
    let fields = fields.map(|header| (header.name.as_bytes(), header.value));
    let overriding = match overriding(fields) {
        Ok(overriding) => overriding,
        Err(reason) => return bad(reason, 400),
    };
    let credentials = Credentials::read(&values("proxy-authorization"));
    let length = head.len();
    let body = match lengths.first() {
        Some(value) => {
            let digits = std::str::from_utf8(value).unwrap_or_default();
            Body::Length(digits.parse().unwrap_or(u64::MAX))
        }
        None if codings.is_empty() => Body::Length(0),
        None => Body::Chunked,
    };
    let closes = |value: &[u8]| {
        let mut options = value.split(|&byte| byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    let persists = *version == b"HTTP/1.1" && !values("connection").into_iter().any(closes);
    let line = Line {
        method,
        target,
        host: hosts.first().copied(),
        body,
        overriding,
    };
    match form(&line) {
        Ok(ask) => Head::Ask {
            ask,
            credentials,
            length,
            body,
            persists,
        },
        Err(reason) => bad(reason, 400),
    }
}

/// The authority of CONNECT, or a whole URL.
fn ask_of_proxy(line: &Line<'_>) -> Result<Ask, &'static str> {
    if line.method == b"CONNECT" {
        if line.body != Body::Length(0) {
            return Err("connect_with_body");
        }
        let authority = Authority::parse(line.target, None);
        return authority.map(Ask::Connect).map_err(|error| error.reason());
    }
    let (authority, target) = absolute(line.target)?;
    Ok(Ask::Http {
        authority,
        method: String::from_utf8_lossy(line.method).into_owned(),
        overriding: line.overriding.clone(),
        target,
    })
}

/// A path, and the server in `Host`.
fn origin_request(line: &Line<'_>) -> Result<OriginRequest, &'static str> {
    let host = line.host.ok_or("bad_host")?;
    let is_path = line.target.first() == Some(&b'/') && !line.target.contains(&b'#');
    let target = std::str::from_utf8(line.target).ok();
    // hyper reads it as well, and would refuse it in its own words, and untold.
    let target = target.filter(|target| is_path && target.parse::<Uri>().is_ok());
    let target = target.filter(|target| target.is_ascii());
    Ok(OriginRequest {
        authority: Authority::parse(host, Some(443)).map_err(|error| error.reason())?,
        method: String::from_utf8_lossy(line.method).into_owned(),
        overriding: line.overriding.clone(),
        target: target.ok_or("bad_uri")?.to_owned(),
    })
}

/// Splits `http://host[:port]/path?query`.
fn absolute(target: &[u8]) -> Result<(Authority, String), &'static str> {
    if target.first() == Some(&b'/') || target == b"*" {
        return Err("not_a_proxy_request");
    }
    let text = std::str::from_utf8(target).map_err(|_| "non_ascii_host")?;
    let (scheme, rest) = text.split_once("://").ok_or("bad_uri")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("bad_scheme");
    }
    if text.contains(['\\', '#']) {
        return Err("bad_uri");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("bad_uri");
    }
    let authority =
        Authority::parse(authority.as_bytes(), Some(80)).map_err(|error| error.reason())?;
    match path.as_bytes().first() {
        None => Ok((authority, "/".into())),
        Some(b'/') => Ok((authority, path.into())),
        Some(_) => Ok((authority, format!("/{path}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(head: &str) -> String {
        match parse(head.as_bytes(), ask_of_proxy) {
            Head::Bad { reason, .. } => reason.into(),
            Head::Ask {
                ask: Ask::Connect(authority),
                ..
            } => format!("connect {authority}"),
            Head::Ask {
                ask:
                    Ask::Http {
                        authority,
                        method,
                        target,
                        ..
                    },
                ..
            } => format!("{method} {authority} {target}"),
            Head::Closed => "closed".into(),
        }
    }

    fn inside(head: &str) -> String {
        match parse(head.as_bytes(), origin_request) {
            Head::Bad { reason, .. } => reason.into(),
            Head::Ask {
                ask,
                body,
                persists,
                ..
            } => {
                let OriginRequest {
                    authority,
                    method,
                    target,
                    ..
                } = ask;
                format!("{method} {authority} {target} {body:?} {persists}")
            }
            Head::Closed => "closed".into(),
        }
    }

    #[test]
    fn good_heads_name_their_destination() {
        for (head, expected) in [
            (
                "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
                "connect a.test:443",
            ),
            (
                "GET http://A.test/x?y=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "GET a.test:80 /x?y=1",
            ),
            (
                "GET http://a.test:8080 HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "GET a.test:8080 /",
            ),
            (
                "GET http://a.test?q HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "GET a.test:80 /?q",
            ),
        ] {
            assert_eq!(reason(head), expected);
        }
    }

    #[test]
    fn requests_inside_a_tunnel_are_in_origin_form_with_one_host() {
        for (head, expected) in [
            (
                "GET /x?y=1 HTTP/1.1\r\nHost: A.test\r\n\r\n",
                "GET a.test:443 /x?y=1 Length(0) true",
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a.test:8443\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\n",
                "PUT a.test:8443 / Length(5) false",
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
                "PUT a.test:443 / Chunked true",
            ),
            (
                "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
                "GET a.test:443 / Length(0) false",
            ),
            ("GET / HTTP/1.1\r\n\r\n", "bad_host"),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n", "bad_host"),
            ("GET / HTTP/1.1\r\nHost: a@b.test\r\n\r\n", "bad_host"),
            (
                "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
                "duplicate_host",
            ),
            (
                "GET https://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "bad_uri",
            ),
            ("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_uri"),
            (
                "CONNECT b.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "bad_uri",
            ),
            ("GET /#x HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_uri"),
            ("GET /<x> HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_uri"),
            ("GET /`x HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_uri"),
            ("GET /?\"x HTTP/1.1\r\nHost: a.test\r\n\r\n", "bad_uri"),
            ("GET / HTTP/1.1\nHost: a.test\n\n", "bad_line_ending"),
        ] {
            assert_eq!(inside(head), expected, "{head:?}");
        }
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for (head, expected) in [
            ("CONNECT a.test HTTP/1.1\r\n\r\n", "bad_authority"),
            (
                "CONNECT evil.test:443 a.test:443 HTTP/1.1\r\n\r\n",
                "bad_request_line",
            ),
            ("CONNECT a.test\t:443 HTTP/1.1\r\n\r\n", "bad_request_line"),
            ("CONNECT a.test:443 HTTP/2.0\r\n\r\n", "bad_request_line"),
            (
                "CONNECT a.test:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
                "connect_with_body",
            ),
            (
                "CONNECT a.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "connect_with_body",
            ),
            (
                "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                "duplicate_host",
            ),
            (
                "CONNECT a.test:443 HTTP/1.1\nHost: a\r\n\r\n",
                "bad_line_ending",
            ),
            (
                "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
                "not_a_proxy_request",
            ),
            ("GET https://a.test/ HTTP/1.1\r\n\r\n", "bad_scheme"),
            ("GET ftp://a.test/ HTTP/1.1\r\n\r\n", "bad_scheme"),
            ("GET http://a.test@evil.test/ HTTP/1.1\r\n\r\n", "bad_uri"),
            ("GET http://evil.test\\@a.test/ HTTP/1.1\r\n\r\n", "bad_uri"),
            ("GET http://a.test/x\\y HTTP/1.1\r\n\r\n", "bad_uri"),
            ("GET http://a.test/x#y HTTP/1.1\r\n\r\n", "bad_uri"),
            (
                "POST http://a.test/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                "bad_framing",
            ),
            (
                "POST http://a.test/ HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
                "bad_framing",
            ),
            (
                "POST http://a.test/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                "bad_framing",
            ),
            (
                "POST http://a.test/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
                "bad_framing",
            ),
            (
                "POST http://a.test/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                "bad_framing",
            ),
            ("GET http://a.test/ HTTP/1.1\r\nA : b\r\n\r\n", "bad_head"),
        ] {
            assert_eq!(reason(head), expected, "{head:?}");
        }
    }

    #[tokio::test]
    async fn what_can_become_no_request_is_not_waited_for() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02"[..], true),
            (b"\x05\x01\x00", true),
            (b"\x80\x2e", true),
            (b" GET", true),
            (b"\r\n", true),
            (b"GET http", false),
            (b"!", false),
        ] {
            let (mut client, _open) = tokio::io::duplex(64);
            let mut buffer = BytesMut::from(bytes);
            let wait = Duration::from_millis(20);
            let head = read_head(&mut client, &mut buffer, 4096, wait).await;
            let reason = "bad_request_line";
            let is_bad = matches!(head, Ok(Head::Bad { reason: told, .. }) if told == reason);
            assert_eq!(is_bad, expected, "{bytes:?}: {head:?}");
        }
    }
}
