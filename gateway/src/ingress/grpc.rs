//! Answers of our own to gRPC calls.
//!
//! A client of gRPC looks for `grpc-status` and takes a body for messages: JSON would be
//! told as a broken message, and not as a failure that may be tried again. The status of
//! HTTP stays what it is for any other client, proxies and logs go by it.

use http::{HeaderMap, header};
use pingora::http::ResponseHeader;

use super::{Refusal, Session};

/// Whether a request is a call of gRPC.
pub(super) fn is_call(session: &Session) -> bool {
    session.is_http2() && is_grpc(&session.req_header().headers)
}

/// Whether fields are those of gRPC; `application/grpc-web` is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Makes a response head one that stands without a body, as gRPC's "Trailers-Only".
pub(super) fn end_call(head: &mut ResponseHeader, refusal: &Refusal) -> pingora::Result<()> {
    head.remove_header(&header::CONTENT_LENGTH);
    head.insert_header(header::CONTENT_TYPE, "application/grpc")?;
    head.insert_header("grpc-status", code(refusal.status))?;
    let message = format!("{}/{}", refusal.stage.name(), refusal.reason);
    head.insert_header("grpc-message", message)
}

/// The code for a status: gRPC's `doc/http-grpc-status-mapping.md`, which clients apply to
/// answers without a `grpc-status`.
fn code(status: u16) -> u16 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_grpc_itself_is_grpc() {
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("application/json", false),
        ] {
            let value = HeaderValue::from_static(content_type);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value)]);
            assert_eq!(is_grpc(&headers), grpc, "{content_type}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
