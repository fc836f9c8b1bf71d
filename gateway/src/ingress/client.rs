//! Reading from the client and writing to it, within bounds.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use pingora::{ErrorType, http::ResponseHeader, protocols::Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Session;

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
            ErrorType::WriteTimedout => Self::Stuck,
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ConnectionClosed
            | ErrorType::H2Error => Self::Closed,
            _ => Self::Malformed,
        }
    }
}

/// Waits for the next part of the request body; `None` at its end. Once it has
/// ended (`done`), waits for the client to go.
///
/// Nothing is lost when this is dropped before it is ready.
pub(super) async fn next_part(
    session: &mut Session,
    done: bool,
    patience: Duration,
) -> Result<Option<Bytes>, Gone> {
    if done {
        return session.read_body_or_idle(true).await.map_err(Gone::from);
    }
    within(Some(patience), Gone::Slow, session.read_request_body()).await
}

/// Writes a response head; `end` where no body follows.
pub(super) async fn write_head(
    session: &mut Session,
    head: Box<ResponseHeader>,
    end: bool,
) -> Result<(), Gone> {
    if let Session::H2(session) = session {
        return session.write_response_header(head, end).map_err(Gone::from);
    }
    let patience = session.get_write_timeout();
    let written = async {
        session.write_response_header(head).await?;
        if end {
            session.finish_body().await?;
        }
        Ok(())
    };
    within(patience, Gone::Stuck, written).await
}

/// Writes a part of a response body, and its end with the last.
pub(super) async fn write_body(session: &mut Session, bytes: Bytes, end: bool) -> Result<(), Gone> {
    let patience = session.get_write_timeout();
    let written = session.write_response_body(bytes, end);
    within(patience, Gone::Stuck, written).await
}

/// Ends a response with trailers; HTTP/1 clients get the end alone, since
/// pingora-core writes no trailers there.
pub(super) async fn write_trailers(session: &mut Session, trailers: HeaderMap) -> Result<(), Gone> {
    if session.is_http2() {
        session
            .write_response_trailers(trailers)
            .await
            .map_err(Gone::from)
    } else {
        write_body(session, Bytes::new(), true).await
    }
}

/// Ends a connection whose answer was cut: no end of a body is written.
pub(super) async fn cut(session: &mut Session) {
    // Sends what is buffered still, where the client takes it.
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

async fn within<T>(
    patience: Option<Duration>,
    late: Gone,
    work: impl Future<Output = pingora::Result<T>>,
) -> Result<T, Gone> {
    match patience {
        None => work.await.map_err(Gone::from),
        Some(patience) => match pingora_timeout::timeout(patience, work).await {
            Ok(done) => done.map_err(Gone::from),
            Err(_) => Err(late),
        },
    }
}
