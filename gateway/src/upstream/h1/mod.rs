//! HTTP/1.1 to an endpoint (RFC 9112).
//!
//! ```text
//! send_head, send_body --> outbox --> stream
//! stream --> buffer --head--> Event::Head --body--> Event::Data --> end
//! ```

mod body;
mod chunked;
mod head;

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderName;
use tokio_util::io::poll_read_buf;

use self::{
    body::{Body, Piece},
    head::ResponseHead,
};
use super::{Event, Fault, FaultKind, Fields, Framing, OpenStream, RequestLine, outbox::Outbox};

/// Room for the first read of a response; most are smaller.
const FIRST_READ: usize = 8 << 10;

/// Room for the reads after one that was full.
const FULL_READ: usize = 64 << 10;

/// An HTTP/1.1 connection with one request on it.
pub(crate) struct Connection {
    stream: OpenStream,
    outbox: Outbox,
    buffer: BytesMut,
    /// Room for the next read.
    room: usize,
    request: Request,
    response: Response,
    /// How long the endpoint keeps the connection; `None` where it does not.
    keepalive: Option<KeepAlive>,
    /// Why sending stopped; the endpoint may have answered before.
    send_fault: Option<std::io::Error>,
}

/// What matters of the request for its response.
#[derive(Debug, Default)]
struct Request {
    head: bool,
    upgrade: bool,
    chunked: bool,
    ended: bool,
}

#[derive(Debug)]
enum Response {
    Awaited,
    Body(Body),
    Ended,
    Upgraded,
}

/// What a response says of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeepAlive {
    /// `timeout` of the `Keep-Alive` field.
    idle: Option<Duration>,
}

impl Connection {
    pub(super) fn new(stream: OpenStream) -> Self {
        Self {
            stream,
            outbox: Outbox::default(),
            buffer: BytesMut::new(),
            room: FIRST_READ,
            request: Request::default(),
            response: Response::Awaited,
            keepalive: None,
            send_fault: None,
        }
    }

    pub(super) fn send_head(
        &mut self,
        line: RequestLine<'_>,
        fields: impl FnOnce(&mut dyn Fields),
    ) {
        let out = self.outbox.head();
        out.reserve(1024);
        out.put_slice(line.method.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(line.target);
        out.put_slice(b" HTTP/1.1\r\n");
        fields(&mut Wire(out));
        match line.framing {
            Framing::None => {}
            Framing::Length(length) => {
                out.put_slice(b"Content-Length: ");
                out.put_slice(itoa::Buffer::new().format(length).as_bytes());
                out.put_slice(b"\r\n");
            }
            Framing::Unknown => out.put_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        out.put_slice(b"\r\n");
        self.request = Request {
            head: line.method == http::Method::HEAD,
            upgrade: line.upgrade,
            chunked: line.framing == Framing::Unknown,
            ended: line.framing == Framing::None,
        };
    }

    pub(super) fn send_body(&mut self, bytes: Bytes, end: bool) {
        if self.request.ended || self.send_fault.is_some() {
            return;
        }
        if !self.request.chunked {
            self.outbox.push(bytes);
        } else {
            if !bytes.is_empty() {
                self.outbox.push(chunked::size_line(bytes.len()));
                self.outbox.push(bytes);
                self.outbox.push(Bytes::from_static(b"\r\n"));
            }
            if end {
                self.outbox.push(Bytes::from_static(b"0\r\n\r\n"));
            }
        }
        self.request.ended = end;
    }

    pub(super) fn has_room(&self) -> bool {
        self.outbox.is_empty()
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Fault>> {
        let mut moved = false;
        let waiting = !self.outbox.is_empty();
        if waiting
            && let Poll::Ready(Err(error)) =
                self.outbox
                    .poll_send(&mut self.stream.stream, cx, &mut moved)
        {
            // It may have answered before it closed: its answer is read all the same.
            self.send_fault = Some(error);
            self.outbox.clear();
        }
        // A flush that ends makes room as well, and whoever waits for that is told.
        moved |= waiting && self.outbox.is_empty();
        loop {
            if let Some(event) = self.decode()? {
                return Poll::Ready(Ok(event));
            }
            self.buffer.reserve(self.room);
            match poll_read_buf(Pin::new(&mut self.stream.stream), cx, &mut self.buffer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(self.closed()),
                Poll::Ready(Ok(read)) if read >= self.room => self.room = FULL_READ,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    let error = self.send_fault.take().unwrap_or(error);
                    return Poll::Ready(Err(Fault::new(FaultKind::Closed, error)));
                }
                Poll::Pending if moved => return Poll::Ready(Ok(Event::Progress)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Event>, Fault> {
        match &mut self.response {
            Response::Awaited => {
                let parsed = head::take(&mut self.buffer, self.request.head).map_err(malformed)?;
                match parsed {
                    Some(parsed) => self.begin_response(parsed).map(Some),
                    None => Ok(None),
                }
            }
            Response::Body(body) => match body.take(&mut self.buffer).map_err(malformed)? {
                None => Ok(None),
                Some(Piece::Data { bytes, end }) => {
                    if end {
                        self.response = Response::Ended;
                    }
                    Ok(Some(Event::Data { bytes, end }))
                }
                Some(Piece::Trailers(trailers)) => {
                    self.response = Response::Ended;
                    Ok(Some(Event::Trailers(trailers)))
                }
            },
            Response::Ended | Response::Upgraded => Err(Fault::new(
                FaultKind::Malformed,
                "nothing is awaited any more",
            )),
        }
    }

    fn begin_response(&mut self, parsed: ResponseHead) -> Result<Event, Fault> {
        let ResponseHead {
            head,
            body,
            keepalive,
        } = parsed;
        let end = match head.status.as_u16() {
            101 if self.request.upgrade => {
                self.response = Response::Upgraded;
                false
            }
            101 => return Err(malformed("a 101 that nobody asked for")),
            100..=199 => false,
            _ => {
                self.keepalive = keepalive;
                let end = body.is_none();
                self.response = body.map_or(Response::Ended, Response::Body);
                end
            }
        };
        Ok(Event::Head {
            head: Box::new(head),
            end,
        })
    }

    /// The endpoint has closed its side.
    fn closed(&mut self) -> Result<Event, Fault> {
        self.keepalive = None;
        if let Response::Body(body) = &self.response
            && body.ends_with_connection()
        {
            self.response = Response::Ended;
            return Ok(Event::Data {
                bytes: Bytes::new(),
                end: true,
            });
        }
        let error = self
            .send_fault
            .take()
            .unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into());
        Err(Fault::new(FaultKind::Closed, error))
    }

    /// The stream, where another request may follow on it, and how long the
    /// endpoint keeps it, where it says so.
    pub(super) fn into_reusable(self) -> Option<(OpenStream, Option<Duration>)> {
        let clean = self.request.ended
            && matches!(self.response, Response::Ended)
            && self.outbox.is_empty()
            && self.buffer.is_empty()
            && self.send_fault.is_none();
        let keepalive = self.keepalive.filter(|_| clean)?;
        Some((self.stream, keepalive.idle))
    }

    /// The stream and the bytes that were read beyond the response.
    pub(super) fn into_parts(self) -> (OpenStream, BytesMut) {
        (self.stream, self.buffer)
    }
}

fn malformed(reason: &'static str) -> Fault {
    Fault::new(FaultKind::Malformed, reason)
}

/// Fields as they go onto the connection.
struct Wire<'a>(&'a mut BytesMut);

impl Fields for Wire<'_> {
    fn put(&mut self, _: &HeaderName, spelled: &[u8], value: &[u8]) {
        self.0.reserve(spelled.len() + value.len() + 4);
        self.0.put_slice(spelled);
        self.0.put_slice(b": ");
        self.0.put_slice(value);
        self.0.put_slice(b"\r\n");
    }
}
