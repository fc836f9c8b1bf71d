//! The PROXY protocol, versions 1 and 2 (HAProxy's specification).

use std::{io, net::SocketAddr};

use bytes::BytesMut;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest header with its extensions that is read.
const MAX_BYTES: usize = 4096;

/// Reads the header that a load balancer sends first.
///
/// Returns the client, or `None` where the balancer speaks for itself (LOCAL,
/// UNKNOWN), and the bytes that came after the header.
///
/// # Errors
/// A missing, malformed or too long header; the connection is to be closed.
pub(super) async fn read_proxy_header<R: AsyncRead + Unpin>(
    stream: &mut R,
) -> io::Result<(Option<SocketAddr>, BytesMut)> {
    let mut buffer = BytesMut::with_capacity(512);
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    loop {
        match ProxyHeader::parse(&buffer, config) {
            Ok((header, length)) => {
                let client = header.proxied_address().map(|address| address.source);
                let rest = buffer.split_off(length);
                return Ok((client, rest));
            }
            Err(Error::BufferTooShort) if buffer.len() < MAX_BYTES => {}
            Err(Error::BufferTooShort) => return Err(io::Error::other("PROXY header too long")),
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
