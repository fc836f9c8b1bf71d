//! Requests that wait for a destination to take them.
//!
//! hyper queues requests of HTTP/2 without a bound where the destination opens no more streams, also
//! those that are over meanwhile. So only so many are given to it at once.

use std::{
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bodies::{AnyBody, BoxError};

/// Those of one tunnel.
pub(super) struct Unsent {
    /// Room for further ones.
    room: Arc<Semaphore>,
}

/// The body of one, empty or not: it is dropped when it is sent, or with the head that was not.
struct Sending {
    body: AnyBody,
    _room: OwnedSemaphorePermit,
}

impl Unsent {
    /// None yet, and so many at once.
    pub(super) fn new(most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Adds one, when there is room for it.
    pub(super) async fn add(&self, request: Request<AnyBody>) -> Request<AnyBody> {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
            // Nobody closes it; and nothing would be sent then.
            return pending().await;
        };
        request.map(|body| Sending { body, _room: room }.boxed_unsync())
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
