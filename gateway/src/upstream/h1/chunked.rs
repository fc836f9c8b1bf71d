//! The chunked transfer coding (RFC 9112 section 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::body::Piece;

/// Bytes of one line of chunk size, extensions included.
const MAX_SIZE_LINE: usize = 4 << 10;

/// Bytes of all trailers.
const MAX_TRAILERS: usize = 16 << 10;

/// Fields of trailers.
const MAX_TRAILER_FIELDS: usize = 64;

/// Where a chunked body stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Chunked {
    /// Before a chunk size.
    #[default]
    Size,
    /// In a chunk; so many bytes are to come.
    Data(u64),
    /// Before the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
}

/// The line before a chunk.
pub(super) fn size_line(length: usize) -> Bytes {
    Bytes::from(format!("{length:x}\r\n"))
}

impl Chunked {
    /// Takes the next piece from the buffer; `None` where more bytes are needed.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, &'static str> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line_end(buffer, MAX_SIZE_LINE)? else {
                        return Ok(None);
                    };
                    let size = chunk_size(&buffer[..line])?;
                    buffer.advance(line + 2);
                    *self = match size {
                        0 => Self::Trailers,
                        size => Self::Data(size),
                    };
                }
                Self::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(None);
                    }
                    let here = buffer
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let bytes = buffer.split_to(here).freeze();
                    *left -= here as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Some(Piece::Data { bytes, end: false }));
                }
                Self::DataEnd => {
                    if buffer.len() < 2 {
                        return Ok(None);
                    }
                    if !buffer.starts_with(b"\r\n") {
                        return Err("a chunk longer than its size");
                    }
                    buffer.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers => return take_trailers(buffer),
            }
        }
    }
}

fn take_trailers(buffer: &mut BytesMut) -> Result<Option<Piece>, &'static str> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(Piece::Data {
            bytes: Bytes::new(),
            end: true,
        }));
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    match httparse::parse_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) => {
            let mut trailers = HeaderMap::with_capacity(fields.len());
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes());
                let value = HeaderValue::from_bytes(field.value);
                let (Ok(name), Ok(value)) = (name, value) else {
                    return Err("a malformed trailer");
                };
                trailers.append(name, value);
            }
            buffer.advance(length);
            Ok(Some(Piece::Trailers(trailers)))
        }
        Ok(httparse::Status::Partial) if buffer.len() <= MAX_TRAILERS => Ok(None),
        Ok(httparse::Status::Partial) => Err("trailers that are too large"),
        Err(_) => Err("malformed trailers"),
    }
}

/// Finds the end of a line, which must be a CRLF; `None` where it is still to come.
fn line_end(buffer: &[u8], max: usize) -> Result<Option<usize>, &'static str> {
    match buffer.iter().position(|&byte| byte == b'\n') {
        Some(at) if at > 0 && buffer[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(_) => Err("a bare line feed in a chunk size"),
        None if buffer.len() > max => Err("a chunk size line that is too long"),
        None => Ok(None),
    }
}

/// Reads a chunk size; extensions are passed over (RFC 9112 section 7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, &'static str> {
    const BAD: &str = "a malformed chunk size";
    let digits = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    if digits == 0 || digits > 15 {
        return Err(BAD);
    }
    let rest = line[digits..].trim_ascii_start();
    if !rest.is_empty() && rest[0] != b';' || rest.contains(&b'\r') {
        return Err(BAD);
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| BAD)?;
    u64::from_str_radix(digits, 16).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes wire bytes that come `step` at a time: the body, its trailers and what is left.
    fn decode(wire: &[u8], step: usize) -> Result<(Vec<u8>, usize, usize), &'static str> {
        let (mut chunked, mut buffer) = (Chunked::default(), BytesMut::new());
        let mut body = Vec::new();
        let mut parts = wire.chunks(step);
        loop {
            match chunked.take(&mut buffer)? {
                Some(Piece::Data { bytes, end }) => {
                    body.extend_from_slice(&bytes);
                    if end {
                        let left = buffer.len() + parts.map(<[u8]>::len).sum::<usize>();
                        return Ok((body, 0, left));
                    }
                }
                Some(Piece::Trailers(trailers)) => {
                    let left = buffer.len() + parts.map(<[u8]>::len).sum::<usize>();
                    return Ok((body, trailers.len(), left));
                }
                None => match parts.next() {
                    Some(part) => buffer.extend_from_slice(part),
                    None => return Err("cut"),
                },
            }
        }
    }

    #[test]
    fn bodies_are_the_same_however_they_are_cut() {
        let cases: [(&[u8], &[u8], usize, usize); 6] = [
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0, 0),
            (b"0\r\n\r\n", b"", 0, 0),
            (b"5;a=b;c=\"d\"\r\nhello\r\n00\r\n\r\n", b"hello", 0, 0),
            (
                b"5 \t;x\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
                b"hello0123456789",
                0,
                0,
            ),
            (b"1\r\n\n\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", b"\n", 2, 0),
            (b"1\r\nx\r\n0\r\n\r\nHTTP/1.1", b"x", 0, 8),
        ];
        for (wire, body, trailers, left) in cases {
            for step in 1..=wire.len() {
                assert_eq!(
                    decode(wire, step),
                    Ok((body.to_vec(), trailers, left)),
                    "{} by {step}",
                    wire.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn what_two_parsers_could_read_otherwise_is_an_error() {
        let cases: [&[u8]; 12] = [
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhell\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-1\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"\r\n",
            b"5 5\r\nhello\r\n",
            b"5;\rx\r\nhello\r\n",
            b"1000000000000000\r\nx",
            b"ffffffffffffffffff\r\nx",
        ];
        for wire in cases {
            for step in [1, 2, wire.len()] {
                let got = decode(wire, step);
                assert!(
                    got.is_err() && got != Err("cut"),
                    "{}: {got:?}",
                    wire.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn lines_and_trailers_are_bounded() {
        let long = format!("5;{}", "x".repeat(MAX_SIZE_LINE));
        assert!(decode(long.as_bytes(), 100).is_err_and(|error| error != "cut"));
        let long = format!("0\r\nx: {}", "x".repeat(MAX_TRAILERS));
        assert!(decode(long.as_bytes(), 1000).is_err_and(|error| error != "cut"));
    }
}
