//! Another pingora session over the same connection.

use bytes::BytesMut;
use pingora::{
    Error, ErrorType,
    protocols::http::{ServerSession, v1::server::HttpSession as H1Session},
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
    let head = session.req_header().clone();
    let idle = ServerSession::new_http1(Box::new(std::io::Cursor::new(Vec::<u8>::new())));
    let old = std::mem::replace(&mut *session.downstream_session, idle);
    let ServerSession::H1(old) = old else {
        return Err(Error::explain(
            ErrorType::InternalError,
            "only an HTTP/1 session can be replaced",
        ));
    };
    let mut fresh = H1Session::new(old.into_inner());
    fresh.set_pipelined_prefix(BytesMut::from(message));
    fresh.read_request().await?;
    fresh.enable_retry_buffering();
    while fresh.read_body_bytes().await?.is_some() {}
    *fresh.req_header_mut() = head;
    *session.downstream_session = ServerSession::H1(fresh);
    session.set_keepalive(None);
    Ok(())
}
