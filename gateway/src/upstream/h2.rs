//! HTTP/2 to an endpoint (RFC 9113), over pingora-core's pooled connections.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, uri::PathAndQuery};
use pingora::{
    ErrorType,
    http::{RequestHeader, ResponseHeader},
    protocols::http::v2::client::Http2Session,
};

use super::{Event, Fault, FaultKind, Fields, Framing, RequestLine, open::Open};
use crate::hop_by_hop::strip_hop_by_hop;

/// A stream of an HTTP/2 connection.
pub(crate) struct Connection {
    session: Http2Session,
    /// That its connection is open.
    _open: Arc<Open>,
    sender: Option<SendStream<Bytes>>,
    queue: VecDeque<Bytes>,
    /// The end of the body is queued.
    ending: bool,
    /// The end of the body has left.
    ended: bool,
    answered: bool,
    /// The body has ended; trailers may follow.
    trailers: bool,
}

impl Connection {
    pub(super) fn new(session: Http2Session, open: Arc<Open>) -> Self {
        Self {
            session,
            _open: open,
            sender: None,
            queue: VecDeque::new(),
            ending: false,
            ended: false,
            answered: false,
            trailers: false,
        }
    }

    pub(super) fn send_head(
        &mut self,
        line: RequestLine<'_>,
        fields: impl FnOnce(&mut dyn Fields),
    ) -> Result<(), Fault> {
        let mut headers = Headers(HeaderMap::with_capacity(16));
        fields(&mut headers);
        let mut headers = headers.0;
        if let Framing::Length(length) = line.framing {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        let mut request = http::Request::new(());
        *request.method_mut() = line.method.clone();
        *request.uri_mut() = uri(&line)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        let request = RequestHeader::from(request.into_parts().0);
        let end = matches!(line.framing, Framing::None | Framing::Length(0));
        self.session
            .write_request_header(Box::new(request), end)
            .map_err(|error| match error.etype() {
                ErrorType::InvalidHTTPHeader => Fault::new(FaultKind::Unsendable, error),
                _ => Fault::new(FaultKind::Closed, error).untouched(),
            })?;
        self.sender = self.session.take_request_body_writer();
        self.ending = end;
        self.ended = end;
        Ok(())
    }

    pub(super) fn send_body(&mut self, bytes: Bytes, end: bool) {
        if self.ending {
            return;
        }
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
        self.ending = end;
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.is_empty() && self.ending == self.ended
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Fault>> {
        let mut moved = false;
        let waiting = !self.has_room();
        // An endpoint that takes no more of the body may still answer: it is listened to.
        if self.poll_send(cx, &mut moved).is_err() {
            self.queue.clear();
            self.ending = true;
            self.ended = true;
        }
        moved |= waiting && self.has_room();
        match self.poll_receive(cx) {
            Poll::Pending if moved => Poll::Ready(Ok(Event::Progress)),
            event => event,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Result<(), ()> {
        let Some(sender) = &mut self.sender else {
            return Ok(());
        };
        while let Some(front) = self.queue.front_mut() {
            sender.reserve_capacity(front.len());
            // Room that is there already is not told again by a poll.
            let room = match sender.capacity() {
                0 => match sender.poll_capacity(cx) {
                    Poll::Pending | Poll::Ready(Some(Ok(0))) => return Ok(()),
                    Poll::Ready(None | Some(Err(_))) => return Err(()),
                    Poll::Ready(Some(Ok(room))) => room,
                },
                room => room,
            };
            let bytes = front.split_to(room.min(front.len()));
            if front.is_empty() {
                self.queue.pop_front();
            }
            let end = self.ending && self.queue.is_empty();
            sender.send_data(bytes, end).map_err(drop)?;
            self.ended |= end;
            *moved = true;
        }
        if self.ending && !self.ended {
            sender.send_data(Bytes::new(), true).map_err(drop)?;
            self.ended = true;
            *moved = true;
        }
        Ok(())
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Fault>> {
        if !self.answered {
            ready!(self.session.poll_read_response_header(cx)).map_err(awaiting_head)?;
            self.answered = true;
            let Some(head) = self.session.response_header() else {
                return Poll::Ready(Err(Fault::new(FaultKind::Malformed, "no response head")));
            };
            let mut parts = head.as_owned_parts();
            strip_hop_by_hop(&mut parts.headers);
            let head = ResponseHeader::from(parts);
            let end = self.ends()?;
            return Poll::Ready(Ok(Event::Head {
                head: Box::new(head),
                end,
            }));
        }
        if !self.trailers {
            match ready!(self.session.poll_read_response_body(cx)) {
                Some(Ok(bytes)) => {
                    let end = self.ends()?;
                    return Poll::Ready(Ok(Event::Data { bytes, end }));
                }
                Some(Err(error)) => {
                    return Poll::Ready(Err(Fault::new(FaultKind::Closed, error)));
                }
                None => {}
            }
            self.trailers = true;
        }
        let trailers = pin!(self.session.read_trailers());
        match ready!(trailers.poll(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Ok(Event::Trailers(trailers))),
            Ok(None) => Poll::Ready(Ok(Event::Data {
                bytes: Bytes::new(),
                end: true,
            })),
            Err(error) => Poll::Ready(Err(Fault::new(FaultKind::Closed, error))),
        }
    }

    fn ends(&mut self) -> Result<bool, Fault> {
        self.session
            .check_response_end_or_error()
            .map_err(|error| Fault::new(FaultKind::Closed, error))
    }
}

impl Drop for Connection {
    /// A request that was not sent whole is reset.
    fn drop(&mut self) {
        if let Some(sender) = self.sender.as_mut().filter(|_| !self.ended) {
            sender.send_reset(Reason::CANCEL);
        }
    }
}

fn uri(line: &RequestLine<'_>) -> Result<Uri, Fault> {
    let bad = |error: http::Error| Fault::new(FaultKind::Unsendable, error);
    let path = PathAndQuery::try_from(line.target).map_err(|error| bad(error.into()))?;
    Uri::builder()
        .scheme("https")
        .authority(line.authority)
        .path_and_query(path)
        .build()
        .map_err(bad)
}

/// Whether a server has not acted upon the request that ended so (RFC 9113 sections 6.8 and 8.7).
pub(crate) fn is_untouched(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (error.is_reset() && reason == Some(Reason::REFUSED_STREAM)
            || error.is_go_away() && reason == Some(Reason::NO_ERROR))
}

fn awaiting_head(error: h2::Error) -> Fault {
    let untouched = is_untouched(&error);
    let kind = if error.is_io() || error.is_remote() {
        FaultKind::Closed
    } else {
        FaultKind::Malformed
    };
    let fault = Fault::new(kind, error);
    if untouched { fault.untouched() } else { fault }
}

/// Fields as HTTP/2 has them: in lower case, and no Host beside `:authority`.
struct Headers(HeaderMap);

impl Fields for Headers {
    fn put(&mut self, name: &HeaderName, _: &[u8], value: &[u8]) {
        if name == header::HOST {
            return;
        }
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.0.append(name, value);
        }
    }
}
