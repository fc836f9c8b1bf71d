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
        // Whoever is gone is not waited for in the other direction.
        let _ = tokio::try_join!(
            copy(&mut client_read, &mut upstream_write, up),
            copy(&mut upstream_read, &mut client_write, down),
        );
    };
    tokio::select! {
        () = both => None,
        reason = over(limits, traffic, cut) => Some(reason),
    }
}

/// A side that has reset its connection: nothing comes of it any more, and nothing goes to it.
struct Gone;

/// Copies up to the end of one side, or until the other takes no more: it may have more to say.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: Way<'_>,
) -> Result<(), Gone> {
    loop {
        let chunk = match next(from).await {
            Ok(chunk) if chunk.is_empty() => break,
            Ok(chunk) => chunk,
            // Many end TLS without a word (RFC 8446 section 6.1): an end of this direction, as well.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(_) => return Err(Gone),
        };
        way.admit(chunk.len()).await;
        // TLS may keep a record that the socket had no room for.
        let sent = async {
            to.write_all(&chunk).await?;
            to.flush().await
        };
        if sent.await.is_err() {
            break;
        }
        way.count(chunk.len());
    }
    // The other side may be gone already.
    let _ = to.shutdown().await;
    Ok(())
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
