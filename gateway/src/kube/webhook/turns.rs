//! Turns of questions: so many large bodies are held at once, and so many are thought about.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest question: an object is at most 1.5 MiB in etcd, and an update comes with its old version.
const MAX_BODY: usize = 4 << 20;
/// What is read of a body without a turn: most pods are smaller, and do not wait for bodies that others send
/// slowly.
const SMALL: usize = 64 << 10;
/// Bodies beyond that which are held at once.
const MAX_LARGE: usize = 2;
/// Questions that are thought about at once.
const MAX_QUESTIONS: usize = 2;

/// The turns at one path. They are kept by whoever thinks, also where the one who asked has gone.
#[derive(Debug)]
pub(super) struct Turns {
    large: Arc<Semaphore>,
    thinking: Arc<Semaphore>,
}

/// A body that was read, and its turn.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) body: Bytes,
    _turn: Option<OwnedSemaphorePermit>,
}

/// A body is larger than [`MAX_BODY`], or did not come whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotRead;

impl Default for Turns {
    fn default() -> Self {
        Self {
            large: Arc::new(Semaphore::new(MAX_LARGE)),
            thinking: Arc::new(Semaphore::new(MAX_QUESTIONS)),
        }
    }
}

impl Turns {
    /// Reads a body. One that is large waits for its turn with what it has more.
    pub(super) async fn read<B>(&self, body: B) -> Result<Question, NotRead>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = Limited::new(body, MAX_BODY);
        let (mut read, mut turn) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| NotRead)?.into_data() else {
                continue;
            };
            if turn.is_none() && read.len() + data.len() > SMALL {
                turn = Some(
                    Arc::clone(&self.large)
                        .acquire_owned()
                        .await
                        .map_err(|_| NotRead)?,
                );
            }
            read.extend_from_slice(&data);
        }
        Ok(Question {
            body: read.freeze(),
            _turn: turn,
        })
    }

    /// Waits for the turn to be thought about.
    pub(super) async fn think(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.thinking).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);

    /// A body of which no more comes than this.
    fn slow(first: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frame = Frame::data(Bytes::from(vec![b' '; first]));
        let first = futures_util::stream::iter([Ok(frame)]);
        StreamBody::new(futures_util::StreamExt::chain(
            first,
            futures_util::stream::pending(),
        ))
    }

    #[tokio::test]
    async fn few_large_bodies_are_held_and_small_ones_do_not_wait_for_them() {
        let turns = Turns::default();
        let large = || Full::<Bytes>::from(vec![b' '; SMALL + 1]);
        let held = turns.read(large()).await.expect("a body");
        let mut slow_one = Box::pin(turns.read(slow(SMALL + 1)));
        assert!(timeout(MOMENT, &mut slow_one).await.is_err(), "it is slow");
        assert!(
            timeout(MOMENT, turns.read(large())).await.is_err(),
            "no turn"
        );
        let small = Full::<Bytes>::from(vec![b' '; SMALL]);
        let small = timeout(MOMENT, turns.read(small)).await.expect("no turn");
        assert_eq!(small.expect("a body").body.len(), SMALL);
        drop(held);
        let last = timeout(MOMENT, turns.read(large())).await.expect("a turn");
        assert_eq!(last.expect("a body").body.len(), SMALL + 1);
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_read() {
        let turns = Turns::default();
        let most = Full::<Bytes>::from(vec![b' '; MAX_BODY]);
        assert_eq!(turns.read(most).await.expect("a body").body.len(), MAX_BODY);
        let more = Full::<Bytes>::from(vec![b' '; MAX_BODY + 1]);
        assert_eq!(turns.read(more).await.err(), Some(NotRead));
    }
}
