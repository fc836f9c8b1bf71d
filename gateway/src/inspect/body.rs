//! Reading a request body before the backend is asked.
//!
//! pingora sends a body that was read early only from its retry buffer, which
//! holds 64 KiB: a longer body read in `request_filter` would never be sent. So
//! the buffer is kept filled with *something*, untruncated, and the real body
//! replaces it in `request_body_filter`:
//!
//! - HTTP/1 with a length: buffering starts once no more than 64 KiB remain.
//! - HTTP/1 chunked beyond 64 KiB: the session is replaced by one that has read
//!   a one-byte body from memory, with the client's own head restored.
//! - HTTP/2: the first DATA frame is buffered, the others bypass the buffer.
//!
//! Leans on internals of pingora 0.9.1; the end-to-end tests of bodies cover
//! every case around 64 KiB.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::{Error, ErrorType, protocols::http::ServerSession, proxy::Session};

use super::{Hold, replace_session};
use crate::ingress::{Refusal, Stage};

/// The size of pingora's retry buffer (`BODY_BUF_LIMIT`).
const RETRY_BUFFER: usize = 64 << 10;

/// Bytes that must come in each [`BodyLimits::timeout`]: memory is held for the
/// body, and a byte now and then must not keep it.
const MIN_BYTES: usize = 16 << 10;

/// Bounds on reading one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes to hold; reading stops at the first byte beyond.
    pub hold: u64,
    /// Bytes the route accepts at all.
    pub max: Option<u64>,
    /// Longest silence of the client, and the time in which [`MIN_BYTES`] must come.
    pub timeout: Duration,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum BodyRead {
    /// The whole body; pingora will ask for it once per attempt.
    Whole(Bytes),
    /// More than [`BodyLimits::hold`]; the rest is still to come.
    Prefix(Bytes),
}

/// Reads the request body into memory.
///
/// # Errors
/// A refusal: 413 over [`BodyLimits::max`], 408 for a silent client, 503 when
/// the memory for bodies is spent, 400 for broken framing.
pub(crate) async fn read_body(
    session: &mut Session,
    limits: BodyLimits,
    hold: &mut Hold,
) -> Result<BodyRead, Refusal> {
    let is_h2 = session.as_downstream().is_http2();
    let mut remaining = content_length(session);
    let has_length = remaining.is_some() && !is_h2;
    let mut body = BytesMut::new();
    let mut since = (Instant::now(), 0);
    if is_h2 || !has_length {
        session.enable_retry_buffering();
    }
    loop {
        if has_length && remaining.is_some_and(|remaining| remaining <= RETRY_BUFFER as u64) {
            session.enable_retry_buffering();
        }
        let first_of_h2 = !is_h2 || body.is_empty();
        let read = tokio::time::timeout(limits.timeout, read_chunk(session, first_of_h2)).await;
        let chunk = match read {
            Err(_) => return Err(Refusal::new(408, Stage::Body, "client-too-slow")),
            Ok(Err(_)) => return Err(Refusal::new(400, Stage::Body, "broken-body")),
            Ok(Ok(None)) => break,
            Ok(Ok(Some(chunk))) => chunk,
        };
        if !hold.grow(chunk.len() as u64) {
            return Err(Refusal::new(503, Stage::Body, "buffers-spent"));
        }
        remaining = remaining.map(|remaining| remaining.saturating_sub(chunk.len() as u64));
        body.extend_from_slice(&chunk);
        if since.0.elapsed() >= limits.timeout {
            if body.len() - since.1 < MIN_BYTES {
                return Err(Refusal::new(408, Stage::Body, "client-too-slow"));
            }
            since = (Instant::now(), body.len());
        }
        if limits.max.is_some_and(|max| body.len() as u64 > max) {
            return Err(Refusal::new(413, Stage::Body, "body-too-large"));
        }
        if body.len() as u64 > limits.hold {
            return Ok(BodyRead::Prefix(body.freeze()));
        }
    }
    if !is_h2 && session.retry_buffer_truncated() {
        const ONE_BYTE: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n.";
        replace_session(session, ONE_BYTE)
            .await
            .map_err(|_| Refusal::new(500, Stage::Body, "replay-failed"))?;
    }
    Ok(BodyRead::Whole(body.freeze()))
}

/// The length that the head announces.
pub(crate) fn content_length(session: &Session) -> Option<u64> {
    let headers = &session.req_header().headers;
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn read_chunk(session: &mut Session, buffered: bool) -> pingora::Result<Option<Bytes>> {
    match session.as_downstream_mut() {
        ServerSession::H2(h2) if !buffered => match poll_fn(|cx| h2.poll_read_body_bytes(cx)).await
        {
            None => Ok(None),
            Some(Ok(chunk)) => Ok(Some(chunk)),
            Some(Err(error)) => Err(Error::because(
                ErrorType::ReadError,
                "reading the request body",
                error,
            )),
        },
        session => session.read_request_body().await,
    }
}
