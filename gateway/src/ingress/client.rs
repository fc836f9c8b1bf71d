//! Reading from the client and writing to it, within bounds.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Version, header};
use pingora::{
    ErrorType,
    apps::{HttpPersistentSettings, ReusedHttpStream},
    http::ResponseHeader,
    protocols::Stream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Session;
use crate::{hop_by_hop::strip_hop_by_hop, listen::ConnectionFacts, within::within};

/// Bytes of an unread request body that are drained so that the client sees the
/// status instead of a reset; more than this and the connection is closed on it.
const MAX_DRAIN_BYTES: usize = 1 << 20;

/// Time for that.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(2);

/// Time for the last bytes of an answer that was cut.
const MAX_CUT_TIME: Duration = Duration::from_millis(500);

/// Why there is no more to read from a client, or nothing to write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It has closed the connection, or reset the stream.
    Closed,
    /// It is silent.
    Slow,
    /// It does not take what is sent.
    Stuck,
    /// It does not keep to the protocol.
    Malformed,
}

impl From<Box<pingora::Error>> for Gone {
    fn from(error: Box<pingora::Error>) -> Self {
        tracing::debug!(%error, "client");
        match error.etype() {
            ErrorType::ReadTimedout => Self::Slow,
            _ if is_malformed(&error) => Self::Malformed,
            ErrorType::WriteTimedout => Self::Stuck,
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ConnectionClosed
            | ErrorType::H2Error => Self::Closed,
            _ => Self::Malformed,
        }
    }
}

/// Whether the stream found that the client does not keep to the framing.
fn is_malformed(error: &pingora::Error) -> bool {
    error
        .root_cause()
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData)
}

/// Waits for the next part of the request body; `None` at its end. Once it has
/// ended (`done`), waits for the client to go.
///
/// Nothing is lost when this is dropped before it is ready.
pub(super) async fn next_part(
    session: &mut Session,
    done: bool,
    patience: Option<Duration>,
) -> Result<Option<Bytes>, Gone> {
    if done {
        return session.read_body_or_idle(true).await.map_err(Gone::from);
    }
    let read = pin!(session.read_request_body());
    let Some(patience) = patience else {
        return read.await.map_err(Gone::from);
    };
    match within(patience, read).await {
        Some(read) => read.map_err(Gone::from),
        None => Err(Gone::Slow),
    }
}

/// Writes a response head; `end` where no body follows.
pub(super) async fn write_head(
    session: &mut Session,
    head: Box<ResponseHeader>,
    end: bool,
) -> Result<(), Gone> {
    if let Session::H2(session) = session {
        return session
            .write_response_header(head, end)
            .map_err(|_| Gone::Closed);
    }
    let patience = session.get_write_timeout();
    let written = async {
        session.write_response_header(head).await?;
        if end {
            session.finish_body().await?;
        }
        Ok(())
    };
    writing(patience, pin!(written)).await
}

/// Writes a part of a response body, and its end with the last.
pub(super) async fn write_body(session: &mut Session, bytes: Bytes, end: bool) -> Result<(), Gone> {
    let patience = session.get_write_timeout();
    let work = pin!(session.write_response_body(bytes, end));
    writing(patience, work).await
}

/// Ends a response with trailers; HTTP/1 clients get the end alone, since
/// pingora-core writes no trailers there.
pub(super) async fn write_trailers(
    session: &mut Session,
    mut trailers: HeaderMap,
) -> Result<(), Gone> {
    if !session.is_http2() {
        return write_body(session, Bytes::new(), true).await;
    }
    // RFC 9110 section 6.5.1: they may neither frame the message nor route it.
    strip_hop_by_hop(&mut trailers);
    trailers.remove(header::CONTENT_LENGTH);
    trailers.remove(header::HOST);
    let patience = session.get_write_timeout();
    let work = pin!(session.write_response_trailers(trailers));
    writing(patience, work).await
}

/// Answers `Expect: 100-continue` (RFC 9110 section 10.1.1) in place of the
/// backend, which never sees the expectation. Once for each HTTP/1 session.
pub(super) async fn answer_expectation(session: &mut Session) -> Result<(), Gone> {
    let request = session.req_header();
    let expects = request.version == Version::HTTP_11
        && request
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !expects {
        return Ok(());
    }
    // pingora gives up keepalive for any head written before the body has come,
    // this one included.
    let keepalive = session.get_keepalive();
    let patience = session.get_write_timeout();
    {
        let work = pin!(session.write_continue_response());
        writing(patience, work).await?;
    }
    session.set_keepalive(keepalive);
    Ok(())
}

/// Ends a request and gives its connection back, where another may follow.
pub(super) async fn give_back(mut session: Session) -> Option<ReusedHttpStream> {
    if let Session::H2(session) = &mut session {
        // A stream that its client has reset is at its end as well.
        let _ = session.finish();
        return None;
    }
    let settings = HttpPersistentSettings::for_session(&session);
    let patience = session.get_write_timeout();
    writing(patience, pin!(session.finish_body())).await.ok()?;
    let Session::H1(session) = session else {
        return None;
    };
    let stream = writing(patience, pin!(session.reuse())).await.ok()??;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

/// Ends a connection whose answer was cut, so that it does not look complete.
pub(super) async fn cut(session: &mut Session, facts: &ConnectionFacts) {
    let to_the_end = session.req_header().version == Version::HTTP_10
        && session
            .response_written()
            .is_some_and(|head| !head.headers.contains_key(header::CONTENT_LENGTH));
    if to_the_end {
        // Its body ends with the connection: only a reset tells a cut from that.
        facts.reset_on_close();
    }
    // Sends what is buffered still, where the client takes it; no end of the body.
    let _ = tokio::time::timeout(MAX_CUT_TIME, session.shutdown()).await;
}

/// Reads away what is left of a request body.
pub(super) async fn drain(session: &mut Session) {
    let reading = async {
        let mut drained = 0;
        while drained < MAX_DRAIN_BYTES {
            match session.read_request_body().await {
                Ok(Some(bytes)) => drained += bytes.len(),
                Ok(None) | Err(_) => break,
            }
        }
    };
    // Running out of time only means that the client may see a reset.
    let _ = tokio::time::timeout(MAX_DRAIN_TIME, reading).await;
}

/// Closes a connection whose client may still be sending.
pub(super) async fn linger(mut stream: Stream) {
    let reading = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let (mut chunk, mut drained) = (vec![0; 4 << 10], 0);
        while drained < MAX_DRAIN_BYTES {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => drained += read,
            }
        }
    };
    let _ = tokio::time::timeout(MAX_DRAIN_TIME, reading).await;
}

/// Does what writes, for as long as the client takes it. What is given by value would be
/// copied at each step, and it is large.
async fn writing<T, W: Future<Output = pingora::Result<T>>>(
    patience: Option<Duration>,
    work: Pin<&mut W>,
) -> Result<T, Gone> {
    let done = match patience {
        None => work.await,
        Some(patience) => within(patience, work).await.ok_or(Gone::Stuck)?,
    };
    done.map_err(|error| match Gone::from(error) {
        Gone::Stuck => Gone::Stuck,
        _ => Gone::Closed,
    })
}
