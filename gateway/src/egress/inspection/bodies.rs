//! Bodies on their way through: counted, and cut when their request is.

use std::{
    pin::Pin,
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

/// A body that ends when its request is cut.
pub(super) struct Guarded<B> {
    /// What was read of it already.
    ahead: Option<Bytes>,
    body: B,
    cut: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    /// Of a response: with its end the request is over.
    told: Option<Told>,
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
    /// The body of a request, of which some was read.
    pub(super) fn request(ahead: Option<Bytes>, body: B, cut: Cut) -> AnyBody {
        Self {
            ahead,
            body,
            cut: Box::pin(until_cut(cut)),
            told: None,
        }
        .boxed_unsync()
    }

    /// The body of a response.
    pub(super) fn response(body: B, told: Told) -> AnyBody {
        Self {
            ahead: None,
            body,
            cut: Box::pin(until_cut(told.cut())),
            told: Some(told),
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
        if let Some(bytes) = self.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // No rule has seen the fields behind the body of a request, and a credential of the
        // client's own could stand there.
        if let (None, Some(Ok(frame))) = (&self.told, &frame)
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
        let whole = Guarded::request(ahead, body, cut).collect().await;
        let whole = whole.expect("it is not cut");
        assert!(whole.trailers().is_none());
        assert_eq!(whole.to_bytes(), "abcd");
    }
}
