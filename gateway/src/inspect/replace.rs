//! Another pingora session over the same connection, or the connection itself.

use bytes::BytesMut;
use pingora::{
    Error, ErrorType,
    http::RequestHeader,
    protocols::{
        Stream,
        http::{ServerSession, v1::server::HttpSession as H1Session},
    },
    proxy::Session,
};

/// Replaces an HTTP/1 session by one that has read `message` whole, under the
/// client's own head; `message` is a request in wire format.
///
/// The connection closes after this request: bytes that were read beyond the
/// old body are not carried over.
///
/// # Errors
/// When the session is no HTTP/1 session.
pub(crate) async fn replace_session(
    session: &mut Session,
    message: &'static [u8],
) -> pingora::Result<()> {
    let stream = take_stream(session).await?;
    let head = session.req_header().clone();
    begin(session, stream, message, head).await
}

/// Takes the connection out of an HTTP/1 session. What is left of the session
/// has the client's head and no body, and writes to nowhere.
///
/// # Errors
/// When the session is no HTTP/1 session.
pub(crate) async fn take_stream(session: &mut Session) -> pingora::Result<Stream> {
    const NO_BODY: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = session.req_header().clone();
    let old = std::mem::replace(
        &mut *session.downstream_session,
        ServerSession::new_http1(nowhere()),
    );
    let ServerSession::H1(old) = old else {
        return Err(Error::explain(
            ErrorType::InternalError,
            "only an HTTP/1 session can be replaced",
        ));
    };
    begin(session, nowhere(), NO_BODY, head).await?;
    Ok(old.into_inner())
}

/// Sets a session over a stream that has read a message under another head.
async fn begin(
    session: &mut Session,
    stream: Stream,
    message: &'static [u8],
    head: RequestHeader,
) -> pingora::Result<()> {
    let mut fresh = H1Session::new(stream);
    fresh.set_pipelined_prefix(BytesMut::from(message));
    fresh.read_request().await?;
    fresh.enable_retry_buffering();
    while fresh.read_body_bytes().await?.is_some() {}
    *fresh.req_header_mut() = head;
    *session.downstream_session = ServerSession::H1(fresh);
    session.set_keepalive(None);
    Ok(())
}

/// A connection without bytes.
fn nowhere() -> Stream {
    Box::new(std::io::Cursor::new(Vec::<u8>::new()))
}
