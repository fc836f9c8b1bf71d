//! Bytes that are to be sent.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// A part up to this size is copied behind what is queued, so that a head and a
/// small body leave in one packet and with one system call.
const COPIED: usize = 16 << 10;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    first: BytesMut,
    then: VecDeque<Bytes>,
    /// Written, and not flushed yet.
    unflushed: bool,
}

impl Outbox {
    /// The buffer to write a head into; nothing may be queued before it.
    pub(super) fn head(&mut self) -> &mut BytesMut {
        &mut self.first
    }

    /// Queues bytes.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.then.is_empty() && bytes.len() <= COPIED {
            self.first.put_slice(&bytes);
        } else if !bytes.is_empty() {
            self.then.push_back(bytes);
        }
    }

    /// Whether all has been sent.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.then.is_empty() && !self.unflushed
    }

    /// Forgets what is queued.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sends; ready when all has left. `moved` becomes true with the first byte.
    pub(super) fn poll_send<S: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            let front: &[u8] = if self.first.is_empty() {
                match self.then.front() {
                    Some(bytes) => bytes,
                    None => break,
                }
            } else {
                &self.first
            };
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, front))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *moved = true;
            self.unflushed = true;
            self.advance(written);
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        if !self.first.is_empty() {
            self.first.advance(written);
        } else if let Some(bytes) = self.then.front_mut() {
            bytes.advance(written);
            if bytes.is_empty() {
                self.then.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes at a time.
    struct Narrow(Vec<u8>, usize);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let take = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..take]);
            Poll::Ready(Ok(take))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn bytes_leave_in_order_whatever_their_size() {
        let large = vec![b'x'; COPIED + 1];
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for part in [&b"head"[..], b"small", &large, b"behind", b"", &large] {
            outbox.push(Bytes::copy_from_slice(part));
            expected.extend_from_slice(part);
        }
        let mut narrow = Narrow(Vec::new(), 1000);
        let mut moved = false;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            outbox.poll_send(&mut narrow, &mut cx, &mut moved),
            Poll::Ready(Ok(()))
        ));
        assert!(moved && outbox.is_empty());
        assert!(narrow.0 == expected);
    }
}
