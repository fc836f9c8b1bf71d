//! Connections to endpoints of backends.
//!
//! ```text
//! endpoint --open--> Connection --send head, body-->
//!                               <--next-- Progress | Head | Data | Trailers     --release--> pool
//! ```
//!
//! A [`Connection`] sends and receives at once: what is to be sent is queued,
//! and [`Connection::next`] moves bytes both ways until there is something to
//! tell. An endpoint that answers before it has read the request, or that stops
//! reading, is heard all the same. Nothing is lost when `next` is dropped before
//! it is ready, so it can stand in a `select!`.
//!
//! TLS streams and HTTP/2 are pingora-core's. Connections are made and pooled here
//! ([`connect`], [`pool`], [`h2_pool`]), and HTTP/1 is spoken here ([`h1`]): a request is written from the client's own head, without a copy of
//! it in between, and a response can be held back before its head is sent on.

mod ask;
mod blame;
mod connect;
mod fault;
mod grpc_health;
mod h1;
mod h2;
mod h2_pool;
mod health;
mod names;
mod open;
mod outbox;
mod pool;

pub(crate) use ask::{Question, Reply};
pub(crate) use blame::blame;
pub(crate) use connect::{Connector, Reuse, Target};
pub(crate) use fault::{Fault, FaultKind};
pub(crate) use h2::is_untouched;
pub(crate) use health::HealthChecks;
pub(crate) use names::Names;
pub(crate) use open::{Open, OpenStream};

use std::{future::poll_fn, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method};
use pingora::http::ResponseHeader;

use crate::within::within;

/// A connection that carries one request.
pub(crate) enum Connection {
    /// HTTP/1.1.
    Http1(Box<h1::Connection>),
    /// A stream of an HTTP/2 connection.
    Http2(Box<h2::Connection>),
}

/// What a connection tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes left; there may be room for more.
    Progress,
    /// A response head, informational ones included; fields of the connection are
    /// gone, those of an upgrade excepted. `end` says that no body follows.
    Head {
        /// The head.
        head: Box<ResponseHeader>,
        /// Whether the response ends with it.
        end: bool,
    },
    /// A part of the body.
    Data {
        /// Bytes, without framing; empty only at the end.
        bytes: Bytes,
        /// Whether the response ends with it.
        end: bool,
    },
    /// Trailers, and the end.
    Trailers(HeaderMap),
}

/// How a request body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Until it ends.
    Unknown,
}

/// The first line of a request, and how its body is framed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine<'a> {
    /// Method.
    pub method: &'a Method,
    /// Target in origin form.
    pub target: &'a [u8],
    /// Authority for HTTP/2, which has no Host.
    pub authority: &'a [u8],
    /// Framing of the body.
    pub framing: Framing,
    /// Whether an upgrade is asked for, by the fields that follow.
    pub upgrade: bool,
}

/// Takes the fields of a request, in order.
pub(crate) trait Fields {
    /// Puts a field; `spelled` is the name as it goes onto an HTTP/1 connection.
    fn put(&mut self, name: &HeaderName, spelled: &[u8], value: &[u8]);
}

/// Longest silences of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// While its response is awaited; `None` while others must act first.
    pub read: Option<Duration>,
    /// While it takes none of the bytes that are to be sent.
    pub write: Duration,
}

impl Connection {
    /// Queues the head; `fields` puts its fields.
    ///
    /// # Errors
    /// When the connection cannot carry it.
    pub(crate) fn send_head(
        &mut self,
        line: RequestLine<'_>,
        fields: impl FnOnce(&mut dyn Fields),
    ) -> Result<(), Fault> {
        match self {
            Self::Http1(connection) => {
                connection.send_head(line, fields);
                Ok(())
            }
            Self::Http2(connection) => connection.send_head(line, fields),
        }
    }

    /// Queues a part of the body, and its end with the last.
    pub(crate) fn send_body(&mut self, bytes: Bytes, end: bool) {
        match self {
            Self::Http1(connection) => connection.send_body(bytes, end),
            Self::Http2(connection) => connection.send_body(bytes, end),
        }
    }

    /// Whether everything queued has left, so that more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.has_room(),
            Self::Http2(connection) => connection.has_room(),
        }
    }

    /// Whether the endpoint can say that it has not looked at a request, so that
    /// any may be sent again.
    pub(crate) fn may_decline(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Waits for the next event; not to be called after the end of the response.
    ///
    /// # Errors
    /// When the endpoint fails, breaks the protocol, or is silent for too long.
    pub(crate) async fn next(&mut self, patience: Patience) -> Result<Event, Fault> {
        let limit = if self.has_room() {
            patience.read
        } else {
            Some(patience.write)
        };
        let next = poll_fn(|cx| match self {
            Self::Http1(connection) => connection.poll_next(cx),
            Self::Http2(connection) => connection.poll_next(cx),
        });
        match limit {
            None => next.await,
            Some(limit) => within(limit, pin!(next))
                .await
                .unwrap_or_else(|| Err(Fault::new(FaultKind::Timeout, "the endpoint is silent"))),
        }
    }

    /// The connection itself and what it has sent beyond its 101, for an upgrade.
    pub(crate) fn into_upgraded(self) -> Option<(OpenStream, BytesMut)> {
        match self {
            Self::Http1(connection) => Some(connection.into_parts()),
            Self::Http2(_) => None,
        }
    }
}
