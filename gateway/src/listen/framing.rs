//! Where the messages of an HTTP/1 connection begin and end.
//!
//! The stream gives pingora-core the head of a request and no byte more, then
//! its body and no byte more. So nothing behind a message is read as a part of it,
//! or a part of it as something else, whatever the reader makes of its framing;
//! and what RFC 9112 does not allow is found in the client's own bytes, before
//! anything is mended.
//!
//! ```text
//! Head --end of head--> Gap --body announced--> Body (length, chunks) --end--> Gap --next--> Head
//! ```

use bytes::BytesMut;
use memchr::{memchr, memchr3};

use crate::token::is_token_byte;

/// Bytes of chunk extensions and trailers of one body.
const MAX_EXTRA: u64 = 64 << 10;

/// What stands where no byte may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed HTTP/1 framing")]
pub(crate) struct Malformed;

/// The body that follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; 0 where there is none.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Where a connection stands.
#[derive(Debug)]
pub(crate) enum Framing {
    /// In a request head.
    Head(Head),
    /// In a body of so many bytes more.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunked),
    /// Behind a message: what comes is looked at, not read, or is of an upgrade.
    Open,
}

impl Framing {
    /// Awaits a head.
    pub(super) fn head() -> Self {
        Self::Head(Head::default())
    }

    /// Awaits a body.
    pub(crate) fn body(body: Body) -> Self {
        match body {
            Body::Length(0) => Self::Open,
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked(Chunked::default()),
        }
    }

    /// The bytes with `"`, `<` and `>` in the target escaped, where one is there as it is.
    ///
    /// RFC 3986 has no place for them, and clients send them all the same: curl with JSON or
    /// PromQL in a query, for one. Escaped they mean the same to everybody, and there is
    /// one form for rules and backend.
    pub(super) fn escaped(&self, bytes: &[u8]) -> Option<BytesMut> {
        match self {
            Self::Head(head) if !head.past_line => head.escaped(bytes),
            _ => None,
        }
    }

    /// Tells how many of these bytes are of the message that is read; the rest
    /// waits for the next.
    ///
    /// # Errors
    /// When they are of no message.
    pub(crate) fn accept(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::Open => Ok(bytes.len()),
            Self::Head(head) => {
                let (here, ended) = head.accept(bytes)?;
                if ended {
                    *self = Self::Open;
                }
                Ok(here)
            }
            Self::Length(left) => {
                let here = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::Open;
                }
                Ok(here)
            }
            Self::Chunked(chunked) => {
                let here = chunked.accept(bytes)?;
                if chunked.at == At::End {
                    *self = Self::Open;
                }
                Ok(here)
            }
        }
    }
}

/// A request head: its request line is checked, its end found. The rest of it is
/// for the parser to judge.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Whether the request line is over.
    past_line: bool,
    /// Bytes of the request line.
    line: usize,
    spaces: u8,
    /// The last bytes: a line feed, then perhaps a carriage return.
    after_feed: bool,
    after_return: bool,
}

impl Head {
    fn escaped(&self, bytes: &[u8]) -> Option<BytesMut> {
        let end = match self.line {
            // An empty line before the request line ends nothing.
            0 => bytes
                .iter()
                .position(|byte| !matches!(byte, b'\r' | b'\n'))?,
            _ => 0,
        };
        let end = memchr(b'\n', &bytes[end..]).map_or(bytes.len(), |at| end + at);
        let line = &bytes[..end];
        memchr3(b'"', b'<', b'>', line)?;
        let mut escaped = BytesMut::with_capacity(bytes.len() + 64);
        let (mut spaces, mut any) = (self.spaces, false);
        for &byte in line {
            spaces += u8::from(byte == b' ' && spaces < 2);
            let code: &[u8] = match byte {
                b'"' if spaces == 1 => b"%22",
                b'<' if spaces == 1 => b"%3C",
                b'>' if spaces == 1 => b"%3E",
                _ => &[byte],
            };
            any |= code.len() > 1;
            escaped.extend_from_slice(code);
        }
        escaped.extend_from_slice(&bytes[end..]);
        any.then_some(escaped)
    }

    /// The second value tells whether the head has ended.
    fn accept(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            if self.past_line && !self.after_feed {
                // Within a line nothing ends a head.
                match memchr(b'\n', &bytes[at..]) {
                    Some(next) => at += next,
                    None => return Ok((bytes.len(), false)),
                }
            }
            let byte = bytes[at];
            at += 1;
            if self.past_line {
                match byte {
                    b'\n' if self.after_feed => return Ok((at, true)),
                    b'\n' => self.after_feed = true,
                    b'\r' if self.after_feed => {}
                    _ => self.after_feed = false,
                }
            } else {
                self.request_line(byte)?;
            }
        }
        Ok((bytes.len(), false))
    }

    /// Looks at a byte of the request line (RFC 9112 section 3): three words, two
    /// spaces, no byte that a recipient would have to mend, and no fragment.
    fn request_line(&mut self, byte: u8) -> Result<(), Malformed> {
        match byte {
            // An empty line before it is passed over (RFC 9112 section 2.2).
            b'\r' | b'\n' if self.line == 0 => {}
            b'\n' => {
                if self.spaces != 2 {
                    return Err(Malformed);
                }
                self.past_line = true;
                self.after_feed = true;
            }
            _ if self.after_return => return Err(Malformed),
            b'\r' => self.after_return = true,
            b' ' => {
                self.spaces = self.spaces.saturating_add(1);
                self.line += 1;
            }
            0..0x20 | 0x7f | b'#' => return Err(Malformed),
            _ => self.line += 1,
        }
        Ok(())
    }
}

/// A chunked body (RFC 9112 section 7.1).
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    at: At,
    /// Digits of the size so far, then bytes of the chunk that are to come.
    digits: u8,
    left: u64,
    /// Bytes of extensions and trailers.
    extra: u64,
    /// In a trailer: whether its colon has come.
    colon: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// White space behind a size: only an extension may follow.
    SizeSpace,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    /// At the start of a line behind the last chunk.
    Trailer,
    InTrailer,
    TrailerFeed,
    LastFeed,
    End,
}

impl Chunked {
    fn accept(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let rest = bytes.len() - at;
                let here = rest.min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= here as u64;
                at += here;
                if self.left == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            self.at = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        let text = |byte: u8| !matches!(byte, 0..0x20 | 0x7f) || byte == b'\t';
        Ok(match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => {
                self.digits += 1;
                if self.digits > 15 {
                    return Err(Malformed);
                }
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Size, _) if self.digits == 0 => return Err(Malformed),
            (At::Size | At::SizeSpace, b' ' | b'\t') => {
                self.more()?;
                At::SizeSpace
            }
            (At::Size | At::SizeSpace, b';') => At::Extension,
            (At::Size | At::Extension, b'\r') => At::SizeFeed,
            (At::Extension, _) if text(byte) => {
                self.more()?;
                At::Extension
            }
            (At::SizeFeed, b'\n') => {
                self.digits = 0;
                if self.left == 0 {
                    At::Trailer
                } else {
                    At::Data
                }
            }
            (At::DataReturn, b'\r') => At::DataFeed,
            (At::DataFeed, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::LastFeed,
            (At::Trailer, _) if is_token_byte(byte) => {
                self.more()?;
                self.colon = false;
                At::InTrailer
            }
            (At::InTrailer, b':') if !self.colon => {
                self.colon = true;
                At::InTrailer
            }
            (At::InTrailer, b'\r') if self.colon => At::TrailerFeed,
            (At::InTrailer, _) if is_token_byte(byte) || (self.colon && text(byte)) => {
                self.more()?;
                At::InTrailer
            }
            (At::TrailerFeed, b'\n') => At::Trailer,
            (At::LastFeed, b'\n') => At::End,
            _ => return Err(Malformed),
        })
    }

    fn more(&mut self) -> Result<(), Malformed> {
        self.extra += 1;
        if self.extra > MAX_EXTRA {
            return Err(Malformed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds bytes `step` at a time until the message ends; tells how many were of it.
    fn taken(mut framing: Framing, bytes: &[u8], step: usize) -> Result<usize, Malformed> {
        let mut taken = 0;
        for part in bytes.chunks(step) {
            taken += framing.accept(part)?;
            if matches!(framing, Framing::Open) {
                break;
            }
        }
        Ok(taken)
    }

    fn same_in_any_step(framing: impl Fn() -> Framing, bytes: &[u8]) -> Result<usize, Malformed> {
        let whole = taken(framing(), bytes, bytes.len());
        for step in 1..bytes.len() {
            let stepped = taken(framing(), bytes, step);
            assert_eq!(stepped, whole, "{} by {step}", bytes.escape_ascii());
        }
        whole
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let cases: [(&[u8], usize); 6] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", 27),
            (b"GET / HTTP/1.1\r\n\r\n", 18),
            (b"GET / HTTP/1.1\nHost: a\n\nrest", 24),
            (b"GET / HTTP/1.1\r\nA: 1\r\n B\r\n\r\nGET", 28),
            (b"\r\nGET / HTTP/1.1\r\n\r\nx", 20),
            (b"GET / HTTP/1.1\r\nHost: a\r\n", 25),
        ];
        for (bytes, end) in cases {
            assert_eq!(
                same_in_any_step(Framing::head, bytes),
                Ok(end),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn a_request_line_is_not_mended() {
        let cases: [&[u8]; 9] = [
            b"GET /a b HTTP/1.1\r\n",
            b"GET  / HTTP/1.1\r\n",
            b"GET / HTTP/1.1 \r\n",
            b"GET /\r\n",
            b"GET /\0 HTTP/1.1\r\n",
            b"GET /\t HTTP/1.1\r\n",
            b"GET /\r HTTP/1.1\r\n",
            b"GET /#f HTTP/1.1\r\n",
            b"GET /\x7f HTTP/1.1\r\n",
        ];
        for bytes in cases {
            assert_eq!(
                same_in_any_step(Framing::head, bytes),
                Err(Malformed),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn what_no_target_has_is_escaped() {
        let line: &[u8] = b"\r\nGET /a\"<b>?c={\"d\":1} HTTP/1.1\r\nX: <\"\r\n\r\nGET /<";
        let wanted = b"\r\nGET /a%22%3Cb%3E?c={%22d%22:1} HTTP/1.1\r\nX: <\"\r\n\r\nGET /<";
        let whole = Framing::head().escaped(line).expect("something to escape");
        assert_eq!(&whole[..], wanted);
        // It is done once.
        assert_eq!(Framing::head().escaped(&whole), None);
        for step in 1..line.len() {
            let (mut framing, mut out) = (Framing::head(), Vec::new());
            for part in line[..line.len() - 6].chunks(step) {
                let escaped = framing.escaped(part);
                let part = escaped.as_deref().unwrap_or(part);
                assert_eq!(framing.accept(part), Ok(part.len()), "by {step}");
                out.extend_from_slice(part);
            }
            assert_eq!(out, wanted[..wanted.len() - 6], "by {step}");
        }
        for as_it_is in [
            &b"G<T / HTTP/1.1\r\n"[..],
            b"GET / HTTP/1.1\"\r\n",
            b"GET /",
        ] {
            assert_eq!(Framing::head().escaped(as_it_is), None);
        }
        assert_eq!(Framing::body(Body::Length(9)).escaped(b"GET /<"), None);
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_line() {
        let cases: [(&[u8], usize); 6] = [
            (b"0\r\n\r\nGET", 5),
            (b"5\r\nhello\r\n0\r\n\r\nGET", 15),
            (b"5;a=b\r\nhello\r\n000\r\n\r\nx", 21),
            (b"5 ;a=\"b c\"\r\nhello\r\n0\r\n\r\nx", 24),
            (b"1\r\n\n\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\nx", 25),
            (b"A\r\n0123456789\r\n0\r\n\r\n", 20),
        ];
        let chunked = || Framing::body(Body::Chunked);
        for (bytes, end) in cases {
            assert_eq!(
                same_in_any_step(chunked, bytes),
                Ok(end),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn a_chunk_that_two_could_read_otherwise_is_malformed() {
        let cases: [&[u8]; 17] = [
            b"\r\n",
            b";a\r\n",
            b"5\nhello",
            b"5\r\nhello!",
            b"5\r\nhello\n",
            b"5;a\nb\r\n",
            b"5;a\0\r\n",
            b"5;a\rb",
            b"5 \r\n",
            b"5 5\r\n",
            b"0x5\r\n",
            b"-5\r\n",
            b"+5\r\n",
            b" 5\r\n",
            b"1000000000000000\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\nX : 1\r\n\r\n",
        ];
        let chunked = || Framing::body(Body::Chunked);
        for bytes in cases {
            assert_eq!(
                same_in_any_step(chunked, bytes),
                Err(Malformed),
                "{}",
                bytes.escape_ascii()
            );
        }
        let long = format!("5;{}", "x".repeat(MAX_EXTRA as usize + 1));
        assert_eq!(taken(chunked(), long.as_bytes(), 1000), Err(Malformed));
    }

    #[test]
    fn a_length_is_kept_to() {
        let five = || Framing::body(Body::Length(5));
        assert_eq!(taken(five(), b"helloGET", 8), Ok(5));
    }
}
