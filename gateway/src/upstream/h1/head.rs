//! The head of a response.

use std::{mem::MaybeUninit, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Version, header};
use pingora::http::ResponseHeader;

use super::{KeepAlive, body::Body, chunked::Chunked};

/// Bytes of one response head.
const MAX_HEAD: usize = 256 << 10;

/// Fields of one response head.
const MAX_FIELDS: usize = 256;

/// Fields that the gateway adds: room for them is made at once.
const ADDED: usize = 4;

/// A response head, and what its framing says.
#[derive(Debug)]
pub(super) struct ResponseHead {
    /// Without the fields of the connection, those of an upgrade excepted.
    pub(super) head: ResponseHeader,
    /// How the body is framed; `None` where there is none.
    pub(super) body: Option<Body>,
    /// Whether the endpoint keeps the connection.
    pub(super) keepalive: Option<KeepAlive>,
}

/// Takes a head from the buffer; `None` where more bytes are needed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn take(
    buffer: &mut BytesMut,
    of_head_request: bool,
) -> Result<Option<ResponseHead>, &'static str> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let mut parser = httparse::ParserConfig::default();
    // As RFC 9112 sections 5.1 and 5.2 have a proxy read them.
    parser
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    let length = match parser.parse_response_with_uninit_headers(&mut parsed, buffer, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() <= MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("a response head that is too large"),
        Err(httparse::Error::TooManyHeaders) => return Err("a response with too many fields"),
        Err(_) => return Err("a malformed response head"),
    };
    let status = parsed.code.unwrap_or_default();
    let mut head = ResponseHeader::build(status, Some(parsed.headers.len() + ADDED))
        .map_err(|_| "a malformed status")?;
    head.set_reason_phrase(parsed.reason)
        .map_err(|_| "a malformed reason")?;
    let version = if parsed.version == Some(0) {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    // Places, not slices: the fields share the memory of the buffer.
    let start = buffer.as_ptr() as usize;
    let places: Vec<_> = parsed
        .headers
        .iter()
        .map(|field| {
            let name = field.name.as_ptr() as usize - start;
            let value = field.value.as_ptr() as usize - start;
            (
                name..name + field.name.len(),
                value..value + field.value.len(),
            )
        })
        .collect();
    let bytes = buffer.split_to(length).freeze();
    let mut connection = ConnectionFields::default();
    for (name, value) in places {
        let value = field_value(bytes.slice(value))?;
        if connection.take(&bytes[name.clone()], &value, status)? {
            continue;
        }
        head.append_header(bytes.slice(name), value)
            .map_err(|_| "a malformed field")?;
    }
    connection.finish(head, version, of_head_request).map(Some)
}

/// A field value; a line that was folded is unfolded (RFC 9112 section 5.2).
fn field_value(bytes: Bytes) -> Result<HeaderValue, &'static str> {
    const BAD: &str = "a malformed field value";
    if bytes.iter().any(|&byte| byte == b'\r' || byte == b'\n') {
        let unfolded: Vec<u8> = bytes
            .split(|&byte| byte == b'\r' || byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(&b' ');
        return HeaderValue::from_bytes(&unfolded).map_err(|_| BAD);
    }
    HeaderValue::from_maybe_shared(bytes).map_err(|_| BAD)
}

/// What the fields of the connection say.
#[derive(Debug, Default)]
struct ConnectionFields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    idle: Option<Duration>,
    /// Names that `Connection` lists.
    listed: Vec<HeaderName>,
}

impl ConnectionFields {
    /// Reads a field; tells whether it ends here.
    fn take(
        &mut self,
        name: &[u8],
        value: &HeaderValue,
        status: u16,
    ) -> Result<bool, &'static str> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            10 if is("connection") => {
                self.connection(value.as_bytes());
                Ok(true)
            }
            10 if is("keep-alive") => {
                self.idle = self.idle.or_else(|| keep_alive_timeout(value));
                Ok(true)
            }
            14 if is("content-length") => {
                let length = content_length(value.as_bytes())?;
                if self
                    .length
                    .replace(length)
                    .is_some_and(|before| before != length)
                {
                    return Err("lengths that differ");
                }
                // Written again below, once.
                Ok(true)
            }
            17 if is("transfer-encoding") => {
                if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err("a transfer coding that is not known");
                }
                self.chunked = true;
                Ok(true)
            }
            // With a 101 they are the answer.
            7 if is("upgrade") => Ok(status != 101),
            16 if is("proxy-connection") => Ok(true),
            18 if is("proxy-authenticate") => Ok(true),
            19 if is("proxy-authorization") => Ok(true),
            2 if is("te") => Ok(true),
            _ => Ok(false),
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if !token.eq_ignore_ascii_case(b"upgrade")
                && let Ok(name) = HeaderName::from_bytes(token)
            {
                self.listed.push(name);
            }
        }
    }

    /// Works out the framing (RFC 9112 section 6.3).
    fn finish(
        self,
        mut head: ResponseHeader,
        version: Version,
        of_head_request: bool,
    ) -> Result<ResponseHead, &'static str> {
        for name in &self.listed {
            head.remove_header(name);
        }
        let status = head.status.as_u16();
        // 304 and answers to HEAD tell the length that a body would have.
        let bodiless = of_head_request || matches!(status, 100..=199 | 204 | 304);
        let told = !self.chunked && !matches!(status, 100..=199 | 204);
        if let Some(length) = self.length.filter(|_| told) {
            head.insert_header(header::CONTENT_LENGTH, length)
                .map_err(|_| "a malformed length")?;
        }
        let body = match (self.chunked, self.length) {
            _ if bodiless => None,
            (true, _) => Some(Body::Chunked(Chunked::default())),
            (false, Some(0)) => None,
            (false, Some(length)) => Some(Body::Length(length)),
            (false, None) => Some(Body::Close),
        };
        let persists = if version == Version::HTTP_10 {
            // Chunks in HTTP/1.0 are faulty framing (RFC 9112 section 6.1).
            self.keep_alive && !self.close && !self.chunked
        } else {
            !self.close
        };
        let sound =
            persists && body != Some(Body::Close) && !(self.chunked && self.length.is_some());
        Ok(ResponseHead {
            head,
            body,
            keepalive: sound.then_some(KeepAlive { idle: self.idle }),
        })
    }
}

/// Reads a length; a list of equal ones counts as one (RFC 9110 section 8.6).
fn content_length(value: &[u8]) -> Result<u64, &'static str> {
    const BAD: &str = "a malformed length";
    let mut length = None;
    for item in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if item.is_empty() || item.len() > 18 || !item.iter().all(u8::is_ascii_digit) {
            return Err(BAD);
        }
        let item = item
            .iter()
            .fold(0, |length, digit| length * 10 + u64::from(digit - b'0'));
        if length.replace(item).is_some_and(|before| before != item) {
            return Err("lengths that differ");
        }
    }
    length.ok_or(BAD)
}

/// `timeout` of a `Keep-Alive` field, less a second: a request must not cross
/// the endpoint's end of the connection.
fn keep_alive_timeout(value: &HeaderValue) -> Option<Duration> {
    let seconds: u64 = value
        .to_str()
        .ok()?
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout=")?.parse().ok())?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, of_head_request: bool) -> Result<ResponseHead, &'static str> {
        let mut buffer = BytesMut::from(text.replace('\n', "\r\n").as_bytes());
        take(&mut buffer, of_head_request).map(|head| head.expect("whole"))
    }

    fn framing(text: &str) -> Result<(Option<Body>, bool), &'static str> {
        parse(text, false).map(|head| (head.body, head.keepalive.is_some()))
    }

    #[test]
    fn framing_follows_rfc_9112() {
        let chunked = || Some(Body::Chunked(Chunked::default()));
        let cases = [
            (
                "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
                Some(Body::Length(5)),
                true,
            ),
            (
                "HTTP/1.1 200 OK\nContent-Length: 5, 5\n\n",
                Some(Body::Length(5)),
                true,
            ),
            ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", None, true),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n",
                chunked(),
                true,
            ),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5\n\n",
                chunked(),
                false,
            ),
            ("HTTP/1.1 200 OK\n\n", Some(Body::Close), false),
            (
                "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\n\n",
                Some(Body::Length(5)),
                false,
            ),
            (
                "HTTP/1.0 200 OK\nContent-Length: 5\n\n",
                Some(Body::Length(5)),
                false,
            ),
            (
                "HTTP/1.0 200 OK\nContent-Length: 5\nConnection: Keep-Alive\n\n",
                Some(Body::Length(5)),
                true,
            ),
            (
                "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\nConnection: keep-alive\n\n",
                chunked(),
                false,
            ),
            ("HTTP/1.1 204 No Content\nContent-Length: 5\n\n", None, true),
            (
                "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n",
                None,
                true,
            ),
            ("HTTP/1.1 100 Continue\n\n", None, true),
        ];
        for (text, body, keepalive) in cases {
            assert_eq!(framing(text), Ok((body, keepalive)), "{text}");
        }
    }

    #[test]
    fn framing_with_two_readings_is_refused() {
        for fields in [
            "Content-Length: 5\nContent-Length: 6\n",
            "Content-Length: 5, 6\n",
            "Content-Length: +5\n",
            "Content-Length: 5 5\n",
            "Content-Length: \n",
            "Content-Length: 99999999999999999999\n",
            "Transfer-Encoding: gzip, chunked\n",
            "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n",
            "Transfer-Encoding: xchunked\n",
        ] {
            let text = format!("HTTP/1.1 200 OK\n{fields}\n");
            assert!(framing(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_are_told_where_a_body_would_be() {
        let length = |text, of_head| {
            let head = parse(text, of_head).expect("a head").head;
            head.headers.get("content-length").cloned()
        };
        let five = Some(HeaderValue::from_static("5"));
        assert_eq!(length("HTTP/1.1 200 OK\nContent-Length: 5\n\n", true), five);
        assert_eq!(
            length("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", false),
            five
        );
        assert_eq!(
            length("HTTP/1.1 204 No Content\nContent-Length: 5\n\n", false),
            None
        );
    }

    #[test]
    fn fields_of_the_connection_end_here() {
        let parsed = parse(
            "HTTP/1.1 200 Fine\nConnection: keep-alive, X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5, max=9\nX-Kept: a\n b\nUpgrade: h2c\nContent-Length: 0\n\n",
            false,
        )
        .expect("a head");
        let names: Vec<_> = parsed.head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-kept", "content-length"]);
        assert_eq!(parsed.head.headers["x-kept"], "a b");
        assert_eq!(parsed.head.get_reason_phrase(), Some("Fine"));
        let idle = parsed.keepalive.expect("kept").idle;
        assert_eq!(idle, Some(Duration::from_secs(4)));
    }

    #[test]
    fn heads_are_bounded_and_may_come_in_parts() {
        let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\nX-A: 1\r\n"[..]);
        assert!(matches!(take(&mut buffer, false), Ok(None)));
        buffer.extend_from_slice(&vec![b'a'; MAX_HEAD]);
        assert!(take(&mut buffer, false).is_err());
        let many = "x: y\n".repeat(MAX_FIELDS + 1);
        assert!(parse(&format!("HTTP/1.1 200 OK\n{many}\n"), false).is_err());
    }
}
