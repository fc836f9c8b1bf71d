//! One request of an HTTP/1 connection, as a stream that ends behind it.
//!
//! Its head was judged, byte by byte; hyper reads that again, then the body and no byte more. The
//! framing of the body is checked on the way, in the client's own bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::listen::{Body, Framing};

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// A request, and the stream that it comes from.
pub(super) struct Message<S> {
    stream: S,
    /// What was read and not given on.
    buffer: BytesMut,
    /// Bytes of the head that are still to be given on.
    head: usize,
    body: Framing,
}

impl<S> Message<S> {
    /// A request whose head, of so many bytes, is in the buffer.
    pub(super) fn new(stream: S, buffer: BytesMut, head: usize, body: Body) -> Self {
        Self {
            stream,
            buffer,
            head,
            body: Framing::body(body),
        }
    }

    /// Whether all of it was read.
    pub(super) fn is_over(&self) -> bool {
        self.head == 0 && matches!(self.body, Framing::Open)
    }

    /// The stream, and what came behind the request.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.buffer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Message<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_over() {
            return Poll::Ready(Ok(()));
        }
        if this.buffer.is_empty() {
            this.buffer.reserve(CHUNK);
            let stream = Pin::new(&mut this.stream);
            if ready!(poll_read_buf(stream, cx, &mut this.buffer))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let room = this.buffer.len().min(buf.remaining());
        let here = match this.head {
            0 => {
                let accepted = this.body.accept(&this.buffer[..room]);
                accepted.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
            }
            head => head.min(room),
        };
        this.head = this.head.saturating_sub(here);
        buf.put_slice(&this.buffer[..here]);
        this.buffer.advance(here);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Message<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The end of this request is none of the stream's.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What is read of a request with a head of four bytes, and what is left behind it.
    async fn read(body: Body, bytes: &[u8], ahead: usize) -> (io::Result<String>, String) {
        let (first, rest) = bytes.split_at(ahead);
        let mut message = Message::new(rest, BytesMut::from(first), 4, body);
        let mut text = String::new();
        let read = message.read_to_string(&mut text).await.map(|_| text);
        let (mut rest, buffer) = message.into_parts();
        let mut left = String::from_utf8_lossy(&buffer).into_owned();
        rest.read_to_string(&mut left).await.expect("text");
        (read, left)
    }

    #[tokio::test]
    async fn a_request_ends_where_its_body_does_however_it_comes() {
        for (body, bytes, expected, left) in [
            (Body::Length(0), "HEADGET /", "HEAD", "GET /"),
            (Body::Length(3), "HEADabcGET /", "HEADabc", "GET /"),
            (Body::Length(3), "HEADab", "HEADab", ""),
            (
                Body::Chunked,
                "HEAD3\r\nabc\r\n0\r\n\r\nGET /",
                "HEAD3\r\nabc\r\n0\r\n\r\n",
                "GET /",
            ),
        ] {
            for ahead in 4..=bytes.len() {
                let (read, rest) = read(body, bytes.as_bytes(), ahead).await;
                assert_eq!(read.expect("text"), expected, "{bytes} {ahead}");
                assert_eq!(rest, left, "{bytes} {ahead}");
            }
        }
        let broken = "HEAD3x\r\nabc\r\n0\r\n\r\n";
        let (read, _) = read(Body::Chunked, broken.as_bytes(), 4).await;
        let kind = read.expect_err("no chunk has such a size").kind();
        assert_eq!(kind, io::ErrorKind::InvalidData);
    }
}
