//! What tunnels lead to: it answers a ClientHello with some bytes, and then sends or takes data.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Bytes that answer a ClientHello.
pub(super) const ANSWER: usize = 128;

/// Bytes that are sent or taken at once: few system calls beside those of the proxy.
pub(super) const CHUNK: usize = 256 << 10;

/// What a client asks for behind its ClientHello, with how many bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ask {
    /// The target sends.
    Down = b'd',
    /// The target takes, and says so with one byte.
    Up = b'u',
}

impl Ask {
    /// As it is sent.
    pub(super) fn bytes(self, length: u64) -> [u8; 9] {
        let mut bytes = [self as u8; 9];
        bytes[1..].copy_from_slice(&length.to_be_bytes());
        bytes
    }
}

/// A target on a thread of its own, for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    address: SocketAddr,
}

impl Target {
    /// Starts it on all addresses of this machine that begin with 127.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
            .context("binding a port for the target")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the target")?;
        thread::spawn(move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener).await,
                    Err(error) => eprintln!("target: {error}"),
                }
            });
        });
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }

    /// Where it is.
    pub fn address(self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    // What goes wrong here the client notices, who is asked about it.
                    let _ = answer(stream).await;
                });
            }
            Err(error) => {
                eprintln!("target: {error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = [0; 5];
    if stream.read_exact(&mut head).await.is_err() {
        // A probe that only connects.
        return Ok(());
    }
    let length = u16::from_be_bytes([head[3], head[4]]);
    let mut hello = vec![0; usize::from(length)];
    stream.read_exact(&mut hello).await?;
    drop(hello);
    stream.write_all(&[b'a'; ANSWER]).await?;
    loop {
        let mut ask = [0; 9];
        if stream.read_exact(&mut ask).await.is_err() {
            return Ok(());
        }
        let mut length = [0; 8];
        length.copy_from_slice(&ask[1..]);
        let length = u64::from_be_bytes(length);
        match ask[0] {
            kind if kind == Ask::Down as u8 => send(&mut stream, length).await?,
            _ => {
                take(&mut stream, length).await?;
                stream.write_all(b"!").await?;
            }
        }
    }
}

/// Sends so many bytes.
pub(super) async fn send(stream: &mut TcpStream, length: u64) -> std::io::Result<()> {
    let chunk = vec![b'x'; CHUNK];
    let mut left = length;
    while left > 0 {
        let next = left.min(CHUNK as u64);
        stream.write_all(&chunk[..next as usize]).await?;
        left -= next;
    }
    Ok(())
}

/// Takes so many bytes, and fails where they are not the ones that are sent.
pub(super) async fn take(stream: &mut TcpStream, length: u64) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        let most = left.min(CHUNK as u64) as usize;
        let read = stream.read(&mut chunk[..most]).await?;
        let ends = [chunk.first(), chunk.get(read.wrapping_sub(1))];
        if read == 0 || ends.iter().any(|byte| *byte != Some(&b'x')) {
            return Err(std::io::Error::other(format!(
                "{left} of {length} bytes did not come, or other ones"
            )));
        }
        left -= read as u64;
    }
    Ok(())
}
