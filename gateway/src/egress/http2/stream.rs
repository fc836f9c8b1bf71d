//! The stream of a tunnel over HTTP/2, whose reset is no end of one direction.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long after an end it is known whether that was a reset.
const SETTLE: Duration = Duration::from_millis(20);

/// What hyper gives for a CONNECT that it has answered.
///
/// It reads a stream that is reset with `CANCEL`, as clients drop a tunnel, as one that the client has
/// ended: the other direction would be waited for, which nobody reads any more. What sends that is
/// over by then, and says so.
pub(super) struct TunnelStream {
    io: TokioIo<Upgraded>,
    end: End,
}

enum End {
    /// There was none.
    Open,
    /// There was one a moment ago.
    Settling(Pin<Box<Sleep>>),
    /// It is one of this direction.
    Ended,
}

impl TunnelStream {
    pub(super) fn new(upgraded: Upgraded) -> Self {
        Self {
            io: TokioIo::new(upgraded),
            end: End::Open,
        }
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let End::Open = this.end {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            this.end = End::Settling(Box::pin(sleep(SETTLE)));
        }
        if let End::Settling(settling) = &mut this.end {
            ready!(settling.as_mut().poll(cx));
            this.end = End::Ended;
            // What waits to be sent is no reset.
            if let Poll::Ready(Err(error)) = Pin::new(&mut this.io).poll_flush(cx) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
