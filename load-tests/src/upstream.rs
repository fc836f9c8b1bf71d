//! The upstream behind every peer: a small HTTP/1.1 server that counts.
//!
//! In: requests over kept-alive connections. Out: `200` with a text that tells
//! how many body bytes came, so that a probe sees whether a peer forwards the
//! whole body. One thread, one buffer for each connection, one write for each
//! answer: it must never be what a peer waits for. It is the same for all peers
//! and its CPU time is not counted.

use std::io;

use httparse::{EMPTY_HEADER, Request, Status, parse_chunk_size};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Largest request, head and body, that is read. Far above what any scenario sends.
const MAX_REQUEST_BYTES: usize = 4 << 20;

/// Headers in one request at most.
const MAX_HEADERS: usize = 64;

/// A whole request at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    /// Bytes of head and body as sent.
    bytes: usize,
    /// Bytes of the body without chunk framing.
    body_bytes: u64,
    /// Whether the client wants the connection closed after the answer.
    close: bool,
}

/// Serves connections until the listener fails.
///
/// # Errors
///
/// When a connection cannot be accepted.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes away or talks nonsense ends its own connection only;
        // the driver and the probe report what they miss.
        tokio::spawn(answer_requests(stream));
    }
}

/// Returns the body of the answer to a request with that many body bytes.
pub fn reply_body(body_bytes: u64) -> String {
    format!("received {body_bytes} bytes of body\n")
}

async fn answer_requests(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        while let Some(message) = find_message(&buffer)? {
            buffer.drain(..message.bytes);
            stream.write_all(&reply(message.body_bytes)).await?;
            if message.close {
                return Ok(());
            }
        }
        if buffer.len() > MAX_REQUEST_BYTES || stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn reply(body_bytes: u64) -> Vec<u8> {
    let body = reply_body(body_bytes);
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Finds a whole request at the start of the buffer; `None` when more is to come.
fn find_message(buffer: &[u8]) -> io::Result<Option<Message>> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let Status::Complete(head) = request.parse(buffer).map_err(invalid)? else {
        return Ok(None);
    };
    let (mut length, mut chunked, mut close) = (0, false, false);
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(invalid)?;
            length = text.parse().map_err(invalid)?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            close = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    if chunked {
        let end = find_chunked_end(buffer, head)?;
        return Ok(end.map(|(bytes, body_bytes)| Message {
            bytes,
            body_bytes,
            close,
        }));
    }
    let message = Message {
        bytes: head.saturating_add(length),
        body_bytes: length as u64,
        close,
    };
    Ok((buffer.len() >= message.bytes).then_some(message))
}

/// Finds the end of a chunked body that starts at `head`, and the size of its data.
fn find_chunked_end(buffer: &[u8], head: usize) -> io::Result<Option<(usize, u64)>> {
    let (mut at, mut body_bytes) = (head, 0);
    loop {
        let rest = buffer.get(at..).unwrap_or_default();
        let chunk = parse_chunk_size(rest).map_err(|_| invalid("invalid chunk size"))?;
        let Status::Complete((line, size)) = chunk else {
            return Ok(None);
        };
        // Two bytes for the CRLF after the data; no peer sends trailers here.
        at = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(line)?.checked_add(size)?.checked_add(2))
            .ok_or_else(|| invalid("oversized chunk"))?;
        body_bytes += size;
        if at > buffer.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some((at, body_bytes)));
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Message> {
        find_message(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_without_a_body_ends_with_its_head() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let expected = Message {
            bytes: text.len(),
            body_bytes: 0,
            close: false,
        };
        assert_eq!(found(&format!("{text}GET")), Some(expected));
    }

    #[test]
    fn a_request_is_found_only_when_its_last_byte_is_there() {
        for (text, body_bytes) in [
            (
                "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello",
                5,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
                6,
            ),
        ] {
            for end in 0..text.len() {
                assert_eq!(found(&text[..end]), None, "{:?}", &text[..end]);
            }
            let bytes = text.len();
            let message = found(text).unwrap();
            assert_eq!((message.bytes, message.body_bytes), (bytes, body_bytes));
        }
    }

    #[test]
    fn a_client_may_ask_for_the_connection_to_close() {
        assert!(
            found("GET / HTTP/1.1\r\nconnection: Close\r\n\r\n")
                .unwrap()
                .close
        );
        assert!(
            !found("GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n")
                .unwrap()
                .close
        );
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "\0\0\0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert!(find_message(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_length_beyond_memory_never_completes() {
        let text = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", usize::MAX);
        assert_eq!(found(&text), None);
    }
}
