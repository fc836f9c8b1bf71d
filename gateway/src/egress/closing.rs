//! The end of a connection whose client may still be sending.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What is read of a client that is done with, so that it can read why: closing on what it has sent
/// would reset the connection, and that may overtake the answer (RFC 9112 section 9.6).
const MAX_LINGER: usize = 256 << 10;
const LINGER: Duration = Duration::from_secs(1);

/// Closes, and reads for a while what still comes.
pub(super) async fn close(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let reading = async {
        let _ = stream.shutdown().await;
        let mut chunk = BytesMut::with_capacity(8 << 10);
        let mut read = 0;
        while read < MAX_LINGER {
            chunk.clear();
            match stream.read_buf(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(more) => read += more,
            }
        }
    };
    // Whoever sends on is not waited for.
    let _ = tokio::time::timeout(LINGER, reading).await;
}
