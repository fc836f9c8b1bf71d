//! The same over streams that are no sockets, such as TLS.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, split};

use super::{RelayLimits, SCRATCH, Traffic, Way, over};

/// Relays both ways, as [`super::relay`] does. The end of one direction is told as the stream
/// tells ends: over TLS with a `close_notify` (RFC 8446 section 6.1).
pub(crate) async fn relay_streams<C, U>(
    client: &mut C,
    upstream: &mut U,
    limits: RelayLimits,
    traffic: &Traffic,
    cut: impl FnMut() -> Option<&'static str>,
) -> Option<&'static str>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client_read, mut client_write) = split(client);
    let (mut upstream_read, mut upstream_write) = split(upstream);
    let (up, down) = traffic.ways();
    let both = async {
        tokio::join!(
            copy(&mut client_read, &mut upstream_write, up),
            copy(&mut upstream_read, &mut client_write, down),
        )
    };
    tokio::select! {
        _ = both => None,
        reason = over(limits, traffic, cut) => Some(reason),
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: Way<'_>,
) -> io::Result<()> {
    let copied = async {
        loop {
            let chunk = next(from).await?;
            if chunk.is_empty() {
                return Ok(());
            }
            way.admit(chunk.len()).await;
            to.write_all(&chunk).await?;
            // TLS may keep a record that the socket had no room for.
            to.flush().await?;
            way.count(chunk.len());
        }
    };
    let result = copied.await;
    // The other side may be gone already.
    let _ = to.shutdown().await;
    result
}

/// What comes next; nothing at the end.
async fn next(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut scratch = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut scratch))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(scratch.filled())))
        })
    })
    .await
}
