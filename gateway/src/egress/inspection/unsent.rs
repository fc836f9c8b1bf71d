//! Requests that wait for a destination to take them.
//!
//! hyper queues requests of HTTP/2 without a bound where the destination opens no more streams, also
//! those that are over meanwhile. So only so many are given to it at once. Nor does it let go of a
//! body that the destination does not read once an answer has begun, whatever becomes of that. So it
//! is known for how long each has waited, and the tunnel ends where that is too long.

use std::{
    collections::HashMap,
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bodies::{AnyBody, BoxError};

/// Those of one tunnel; clones share them.
#[derive(Clone)]
pub(super) struct Unsent {
    /// Room for further ones.
    room: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// Since when each has waited for the destination; one that waits for its client is not there.
    since: HashMap<u64, Instant>,
}

/// The body of one, empty or not: it is dropped when it is sent, or with the head that was not.
struct Sending {
    body: AnyBody,
    number: u64,
    of: Unsent,
    _room: OwnedSemaphorePermit,
}

impl Unsent {
    /// None yet, and so many at once.
    pub(super) fn new(most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            waiting: Arc::default(),
        }
    }

    /// Adds one, when there is room for it.
    pub(super) async fn add(&self, request: Request<AnyBody>) -> Request<AnyBody> {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
            // Nobody closes it; and nothing would be sent then.
            return pending().await;
        };
        let number = {
            let mut waiting = self.lock();
            waiting.next += 1;
            waiting.next
        };
        self.waits(number);
        request.map(|body| {
            let sending = Sending {
                body,
                number,
                of: self.clone(),
                _room: room,
            };
            sending.boxed_unsync()
        })
    }

    /// For how long the destination has taken nothing of that which waits longest.
    pub(super) fn longest(&self) -> Duration {
        let oldest = self.lock().since.values().min().copied();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn waits(&self, number: u64) {
        self.lock().since.insert(number, Instant::now());
    }

    fn waits_no_more(&self, number: u64) {
        self.lock().since.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.of.waits_no_more(self.number);
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // The next piece is asked for when this one is sent.
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.of.waits(self.number),
            Poll::Ready(_) | Poll::Pending => self.of.waits_no_more(self.number),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::{Empty, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    fn empty() -> Request<AnyBody> {
        let body = Empty::new().map_err(|never| match never {});
        Request::new(body.boxed_unsync())
    }

    #[tokio::test]
    async fn what_waits_for_the_destination_is_known_and_what_waits_for_the_client_is_not() {
        let unsent = Unsent::new(1);
        let (pieces, coming) = mpsc::unbounded_channel();
        let coming = futures_util::stream::unfold(coming, |mut coming| async {
            let piece: Option<Result<Frame<Bytes>, BoxError>> = coming.recv().await;
            piece.map(|piece| (piece, coming))
        });
        let body = StreamBody::new(coming).boxed_unsync();
        let mut body = unsent.add(Request::new(body)).await.into_body();
        let waited = || {
            std::thread::sleep(Duration::from_millis(5));
            unsent.longest()
        };
        assert!(!waited().is_zero(), "its head is not sent");
        assert!(body.frame().now_or_never().is_none());
        assert!(waited().is_zero(), "its client says nothing");
        let piece = Frame::data(Bytes::from_static(b"some"));
        pieces.send(Ok(piece)).expect("it is there");
        assert!(body.frame().now_or_never().is_some());
        assert!(!waited().is_zero(), "a piece is not sent");
        assert!(unsent.add(empty()).now_or_never().is_none(), "no room");
        drop(body);
        assert!(waited().is_zero());
        assert!(unsent.add(empty()).now_or_never().is_some(), "room");
        assert!(waited().is_zero());
    }
}
