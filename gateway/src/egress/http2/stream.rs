//! The stream of a tunnel over HTTP/2, whose reset is no end of one direction.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    runtime::Handle,
    time::{Sleep, sleep, timeout},
};

use super::{Connection, Counted};
use crate::egress::quota::Charge;

/// How long after an end it is known whether that was a reset.
const SETTLE: Duration = Duration::from_millis(20);
/// For how long a client may leave what it was sent when its tunnel is over, and no other is in use.
const TAKEN: Duration = Duration::from_secs(10);
/// Bytes that are written at once.
const PIECE: usize = 16 << 10;

/// What hyper gives for a CONNECT that it has answered.
///
/// It reads a stream that is reset with `CANCEL`, as clients drop a tunnel, as one that the client has
/// ended: the other direction would be waited for, which nobody reads any more. What sends that is
/// over by then, and says so.
pub(super) struct TunnelStream {
    /// There until it is dropped.
    io: Option<TokioIo<Upgraded>>,
    end: End,
    held: Option<Held>,
}

/// What is counted for a tunnel.
pub(super) struct Held {
    pub(super) counted: Counted,
    pub(super) connection: Arc<Connection>,
    /// What is taken of quotas, once it is.
    pub(super) charge: Option<Arc<Charge>>,
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
    pub(super) fn new(upgraded: Upgraded, held: Held) -> Self {
        Self {
            io: Some(TokioIo::new(upgraded)),
            end: End::Open,
            held: Some(held),
        }
    }

    fn io(&mut self) -> io::Result<Pin<&mut TokioIo<Upgraded>>> {
        let io = self.io.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(io))
    }
}

/// hyper goes on to hold what the client has not taken yet. It counts for as long, and who takes nothing
/// loses the connection, unless a tunnel of it is in use: that may be one of somebody else, behind a
/// proxy of theirs.
impl Drop for TunnelStream {
    fn drop(&mut self) {
        if let (Some(mut io), Some(held)) = (self.io.take(), self.held.take()) {
            // Where there is none any more the process ends.
            let Ok(runtime) = Handle::try_current() else {
                return;
            };
            runtime.spawn(async move {
                let Held {
                    counted,
                    connection,
                    charge,
                } = held;
                if timeout(TAKEN, io.shutdown()).await.is_err() {
                    connection.untaken.fetch_add(1, Ordering::Relaxed);
                    loop {
                        if connection.is_left() {
                            connection.leave.notify_one();
                            break;
                        }
                        if timeout(TAKEN, io.shutdown()).await.is_ok() {
                            break;
                        }
                    }
                    connection.untaken.fetch_sub(1, Ordering::Relaxed);
                }
                drop((counted, charge));
            });
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
            // Whatever ends a stream but its end, the end of its connection too, ends both directions.
            let reset = |error| io::Error::new(io::ErrorKind::ConnectionReset, error);
            ready!(this.io()?.poll_read(cx, buf)).map_err(reset)?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            this.end = End::Settling(Box::pin(sleep(SETTLE)));
        }
        if let End::Settling(settling) = &mut this.end {
            ready!(settling.as_mut().poll(cx));
            this.end = End::Ended;
            // What waits to be sent is no reset.
            if let Poll::Ready(Err(error)) = this.io()?.poll_flush(cx) {
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
        // hyper takes a piece whole, whatever its size, and three of them.
        let piece = &bytes[..bytes.len().min(PIECE)];
        self.io()?.poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(cx)
    }
}
