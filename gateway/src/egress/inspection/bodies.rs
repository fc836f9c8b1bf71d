//! Bodies on their way through: counted, and cut when their request is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};

use super::open::{Cut, Told};

/// Why a body broke off.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of either direction.
pub(super) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Bytes that are given on at once of what was read before.
const PIECE: usize = 16 << 10;

/// A body that ends when its request is cut.
pub(super) struct Guarded<B> {
    /// What was read of it already.
    ahead: Option<Bytes>,
    body: B,
    cut: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    of: Of,
}

/// What a body is of, and keeps open until it ends.
enum Of {
    Request { _passing: Arc<dyn Send + Sync> },
    Response { _told: Box<Told> },
}

/// Waits until a request is cut, and tells why. One whose tunnel has ended is cut as well.
pub(super) async fn until_cut(mut cut: Cut) -> &'static str {
    match cut.wait_for(Option::is_some).await {
        Ok(reason) => reason.unwrap_or("client_closed"),
        Err(_) => "client_closed",
    }
}

impl<B> Guarded<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// The body of a request, of which some was read, and what is there for as long as it is.
    pub(super) fn request(
        ahead: Option<Bytes>,
        body: B,
        cut: Cut,
        passing: Arc<dyn Send + Sync>,
    ) -> AnyBody {
        Self {
            ahead,
            body,
            cut: Box::pin(until_cut(cut)),
            of: Of::Request { _passing: passing },
        }
        .boxed_unsync()
    }

    /// The body of a response.
    pub(super) fn response(body: B, told: Told) -> AnyBody {
        Self {
            ahead: None,
            body,
            cut: Box::pin(until_cut(told.cut())),
            of: Of::Response {
                _told: Box::new(told),
            },
        }
        .boxed_unsync()
    }
}

impl<B> Body for Guarded<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(reason) = self.cut.as_mut().poll(cx) {
            return Poll::Ready(Some(Err(reason.into())));
        }
        if let Some(ahead) = &mut self.ahead {
            // A piece that waits to be sent must not keep the memory of all.
            let piece = ahead.split_to(PIECE.min(ahead.len()));
            let piece = Bytes::copy_from_slice(&piece);
            if ahead.is_empty() {
                self.ahead = None;
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // No rule has seen the fields behind the body of a request, and a credential of the
        // client's own could stand there.
        if let (Of::Request { .. }, Some(Ok(frame))) = (&self.of, &frame)
            && frame.is_trailers()
        {
            return Poll::Ready(None);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderMap, HeaderValue};
    use http_body_util::StreamBody;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn a_request_goes_on_without_the_fields_behind_its_body() {
        let (_open, cut) = watch::channel(None);
        let mut fields = HeaderMap::new();
        fields.insert("authorization", HeaderValue::from_static("theirs"));
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"cd"))),
            Ok(Frame::trailers(fields)),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let ahead = Some(Bytes::from_static(b"ab"));
        let whole = Guarded::request(ahead, body, cut, Arc::new(()))
            .collect()
            .await;
        let whole = whole.expect("it is not cut");
        assert!(whole.trailers().is_none());
        assert_eq!(whole.to_bytes(), "abcd");
    }

    #[tokio::test]
    async fn what_was_held_is_let_go_of_with_its_last_piece() {
        let (_open, cut) = watch::channel(None);
        let held = Bytes::from(vec![b'x'; 2 * PIECE + 1]);
        let rest = http_body_util::Empty::<Bytes>::new();
        let mut body = Guarded::request(Some(held.clone()), rest, cut, Arc::new(()));
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.expect("it is not cut").into_data();
            pieces.push(piece.expect("data"));
            assert_eq!(body.is_end_stream(), pieces.concat() == held);
        }
        assert_eq!(pieces.len(), 3);
        assert!(held.is_unique(), "pieces that are not sent keep nothing");
    }
}
