//! A body that is held until it was looked at, in memory that all bodies share.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use portcullis_config::model::MinBodyRate;

use super::super::answer::Refusal;
use crate::inspect::{BodyPace, Hold};

/// What was read of a body.
pub(super) struct Held {
    /// One piece, however many it came in: each piece has a cost of its own, and a client may
    /// send single bytes.
    bytes: BytesMut,
    memory: Hold,
    /// Whether that is all of it.
    pub(super) whole: bool,
    /// Whether there was no memory for more.
    pub(super) spent: bool,
}

/// Bytes whose memory is given back when the last of them goes on, and not when there is an answer,
/// which may take as long as it likes.
struct Kept {
    bytes: BytesMut,
    _memory: Hold,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// Nothing of a body; `whole` where it has nothing.
    pub(super) fn nothing(memory: Hold, whole: bool) -> Self {
        Self {
            bytes: BytesMut::new(),
            memory,
            whole,
            spent: false,
        }
    }

    /// Reads a body up to the first byte over a limit, within the memory for all of them; a byte
    /// now and then does not keep that.
    ///
    /// # Errors
    /// 408 for one that is too slow, 400 for one that breaks off.
    pub(super) async fn read(
        body: &mut (impl Body<Data = Bytes> + Unpin),
        limit: u64,
        idle: Duration,
        memory: Hold,
    ) -> Result<Self, Refusal> {
        let mut held = Self::nothing(memory, false);
        let mut pace = BodyPace::new(MinBodyRate::default());
        while held.bytes.len() as u64 <= limit {
            let began = Instant::now();
            let patience = pace.as_ref().map_or(idle, |pace| pace.left().min(idle));
            let frame = match tokio::time::timeout(patience, body.frame()).await {
                Err(_) => return Err(Refusal::new(408, "body_timeout")),
                Ok(None) => {
                    held.whole = true;
                    break;
                }
                Ok(Some(Err(_))) => return Err(Refusal::new(400, "bad_framing")),
                Ok(Some(Ok(frame))) => frame,
            };
            // Fields behind a body do not go on.
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            if let Some(pace) = &mut pace {
                pace.waited(began.elapsed());
                pace.came(bytes.len());
            }
            if !held.add(&bytes) {
                held.spent = true;
                break;
            }
        }
        Ok(held)
    }

    /// Adds a piece; tells whether there is memory for it, as much as is taken and not as is used.
    fn add(&mut self, piece: &[u8]) -> bool {
        let before = self.bytes.capacity();
        self.bytes.extend_from_slice(piece);
        self.memory.grow((self.bytes.capacity() - before) as u64)
    }

    /// What was read.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was read, to be sent on; `None` for nothing.
    pub(super) fn into_bytes(self) -> Option<Bytes> {
        let Self { bytes, memory, .. } = self;
        (!bytes.is_empty()).then(|| {
            Bytes::from_owner(Kept {
                bytes,
                _memory: memory,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;
    use crate::inspect::BodyBudget;

    const IDLE: Duration = Duration::from_secs(5);

    /// What is held of a body that comes in pieces of these lengths.
    async fn held(lengths: &[usize], limit: u64, budget: &Arc<BodyBudget>) -> Held {
        let frames = lengths.iter().map(|length| {
            let data = Bytes::from(vec![b'x'; *length]);
            Ok::<_, Infallible>(Frame::data(data))
        });
        let frames: Vec<_> = frames.collect();
        let mut body = StreamBody::new(futures_util::stream::iter(frames));
        let held = Held::read(&mut body, limit, IDLE, budget.hold()).await;
        held.expect("it comes at once")
    }

    #[tokio::test]
    async fn a_body_in_many_pieces_takes_no_more_memory_than_in_one() {
        let budget = BodyBudget::new(1 << 20);
        let pieces: Vec<usize> = (0..20_000).map(|number| number % 2).collect();
        let held = held(&pieces, 1 << 20, &budget).await;
        assert!(held.whole && !held.spent);
        assert_eq!(held.bytes().len(), 10_000);
        assert!(held.bytes.capacity() <= 32 << 10);
        // All of it is taken, also what is not used.
        let taken = held.bytes.capacity() as u64;
        assert!(taken > 10_000);
        let mut rest = budget.hold();
        assert!(!rest.grow((1 << 20) - taken + 1));
        assert!(rest.grow((1 << 20) - taken));
    }

    #[tokio::test]
    async fn memory_is_given_back_with_the_last_of_the_bytes() {
        let budget = BodyBudget::new(100);
        let first = held(&[60], 200, &budget).await;
        assert!(!first.spent);
        assert!(held(&[60], 200, &budget).await.spent);
        let mut bytes = first.into_bytes().expect("some");
        let part = bytes.split_to(10);
        drop(bytes);
        assert!(held(&[60], 200, &budget).await.spent);
        drop(part);
        assert!(!held(&[60], 200, &budget).await.spent);
        assert!(held(&[], 200, &budget).await.into_bytes().is_none());
    }
}
