//! Reading a request body before the backend is asked.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::protocols::http::ServerSession as Session;

use super::{BodyPace, Hold};
use crate::ingress::{Refusal, Stage};

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
    /// How slow it may come; `None` is no limit.
    pub pace: Option<BodyPace>,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum BodyRead {
    /// The whole body.
    Whole(Bytes),
    /// More than [`BodyLimits::hold`]; the rest is still to come.
    Prefix(Bytes),
    /// What came before the memory for bodies was spent; the rest is still to come.
    Spent(Bytes),
}

/// Reads the request body into memory.
///
/// # Errors
/// A refusal: 413 over [`BodyLimits::max`], 408 for a silent client, 400 for broken framing.
pub(crate) async fn read_body(
    session: &mut Session,
    mut limits: BodyLimits,
    hold: &mut Hold,
) -> Result<BodyRead, Refusal> {
    let mut body = BytesMut::new();
    let mut since = (Instant::now(), 0);
    loop {
        let begun = Instant::now();
        let patience = match &limits.pace {
            Some(pace) => limits.timeout.min(pace.left()),
            None => limits.timeout,
        };
        let read = tokio::time::timeout(patience, session.read_request_body()).await;
        let chunk = match read {
            Err(_) => return Err(Refusal::new(408, Stage::Body, "client-too-slow")),
            Ok(Err(_)) => return Err(Refusal::new(400, Stage::Body, "broken-body")),
            Ok(Ok(None)) => break,
            Ok(Ok(Some(chunk))) => chunk,
        };
        if let Some(pace) = &mut limits.pace {
            pace.waited(begun.elapsed());
            pace.came(chunk.len());
        }
        let fits = hold.grow(chunk.len() as u64);
        body.extend_from_slice(&chunk);
        if !fits {
            return Ok(BodyRead::Spent(body.freeze()));
        }
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
    Ok(BodyRead::Whole(body.freeze()))
}

/// The length that the head announces. A list of equal lengths counts as one (RFC
/// 9110 section 8.6); pingora-core has refused any other.
pub(crate) fn content_length(session: &Session) -> Option<u64> {
    let headers = &session.req_header().headers;
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let line = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    line.split(',').next()?.trim().parse().ok()
}
