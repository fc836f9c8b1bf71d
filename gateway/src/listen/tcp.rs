//! Connections that are passed on, and what is read of them first.

use std::{io, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch};

use super::transport::Tcp;
use crate::tls::{FirstBytes, HelloReader};

/// A connection that is to be passed on.
#[derive(Debug)]
pub struct TcpConnection {
    /// The socket.
    pub socket: TcpStream,
    /// Bytes that were read from it, and belong to what is passed on.
    pub ahead: BytesMut,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// The client, from the PROXY header where there is one, else the peer.
    pub client: SocketAddr,
    /// The peer of the socket.
    pub peer: SocketAddr,
    /// The local end.
    pub local: SocketAddr,
    /// Server name that the client asked for.
    pub sni: Option<String>,
    /// The route that was chosen by it; `None` is that of the listener.
    pub route: Option<Arc<str>>,
}

/// Passes connections on.
#[async_trait]
pub trait TcpHandler: Send + Sync {
    /// Passes one on until it ends. After `drain` becomes true it may go on for
    /// most of the time that the process waits for open connections.
    async fn pass_on(&self, connection: TcpConnection, drain: watch::Receiver<bool>);
}

/// Reads the name that a ClientHello asks for; all that is read stays to be read
/// again. Without a ClientHello there is none.
///
/// # Errors
/// Those of the socket, and a ClientHello of more than `max` bytes.
pub(super) async fn peek_server_name(tcp: &mut Tcp, max: u64) -> io::Result<Option<String>> {
    let mut hello = HelloReader::default();
    loop {
        match hello.read(&tcp.ahead) {
            FirstBytes::Hello(name) => return Ok(name),
            FirstBytes::NotTls => return Ok(None),
            FirstBytes::Incomplete => {}
        }
        if tcp.ahead.len() as u64 > max {
            return Err(io::Error::other("ClientHello too large"));
        }
        if tcp.socket.read_buf(&mut tcp.ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
