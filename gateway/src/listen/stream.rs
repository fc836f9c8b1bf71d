//! The stream that is handed to pingora.

use std::{
    fmt, io,
    os::fd::AsRawFd,
    pin::Pin,
    sync::{Arc, PoisonError, atomic::Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest, tls::SslDigest,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf},
    time::Sleep,
};
use tokio_rustls::server::TlsStream;

use super::{
    ConnectionFacts,
    framing::{Framing, Malformed},
    transport::{Tcp, Transport, take},
};

/// Response bytes gathered before a write; a small answer leaves in one packet.
const WRITE_BUFFER: usize = 4096;

/// An accepted connection, in clear or over TLS.
///
/// A request head must arrive within the listener's `headerTimeout`, counted
/// from the start of a connection or from the first byte of a later head: a
/// client that trickles bytes is cut, whatever its pace. Between requests the
/// stream ends after `idleTimeout`.
pub struct Stream {
    transport: BufWriter<Transport>,
    /// Decrypted bytes that were peeked at.
    ahead: BytesMut,
    facts: Arc<ConnectionFacts>,
    framing: Framing,
    /// Bytes that came while a head was awaited.
    head_bytes: u64,
    /// Whether the connection speaks HTTP/2, which bounds its heads itself.
    http2: bool,
    socket_digest: Arc<SocketDigest>,
    ssl_digest: Option<Arc<SslDigest>>,
    accepted: std::time::SystemTime,
    /// When the head that is awaited is late; `None` where none is.
    deadline: Option<Instant>,
    /// Whether its first byte has come.
    head_began: bool,
    /// One timer for the whole connection: it fires at an old deadline, is set to
    /// the present one then, and costs a busy connection nothing.
    sleep: Option<Pin<Box<Sleep>>>,
    header_timeout: Duration,
}

impl Stream {
    pub(super) fn plain(tcp: Tcp, facts: Arc<ConnectionFacts>) -> Self {
        Self::new(Transport::Plain(tcp), facts)
    }

    pub(super) fn tls(tls: TlsStream<Tcp>, facts: Arc<ConnectionFacts>) -> Self {
        Self::new(Transport::Tls(Box::new(tls)), facts)
    }

    fn new(transport: Transport, facts: Arc<ConnectionFacts>) -> Self {
        let header_timeout = facts.settings.load().limits.header_timeout;
        let ssl_digest = facts.tls.as_ref().map(|tls| {
            Arc::new(SslDigest::new(
                tls.cipher,
                tls.version,
                None,
                None,
                Vec::new(),
            ))
        });
        Self {
            socket_digest: Arc::new(SocketDigest::from_raw_fd(
                transport.tcp().socket.as_raw_fd(),
            )),
            transport: BufWriter::with_capacity(WRITE_BUFFER, transport),
            ahead: BytesMut::new(),
            http2: facts.tls.as_ref().is_some_and(|tls| tls.h2),
            head_bytes: 0,
            framing: Framing::head(),
            facts,
            ssl_digest,
            accepted: std::time::SystemTime::now(),
            deadline: Some(Instant::now() + header_timeout),
            head_began: true,
            sleep: None,
            header_timeout,
        }
    }

    /// Learns what body the request has that was read.
    fn take_note_of_body(&mut self) {
        let mut body = self
            .facts
            .body
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(body) = body.take() {
            self.framing = Framing::body(body);
        }
    }

    /// Reads bytes of the message that is read now, and none of the next.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            if !self.http2
                && let Some(escaped) = self.framing.escaped(&self.ahead)
            {
                self.ahead = escaped;
            }
            let length = self.ahead.len().min(buf.remaining());
            let taken = self.accept(length)?;
            buf.put_slice(&self.ahead[..taken]);
            take(&mut self.ahead, taken);
            return Poll::Ready(Ok(()));
        }
        if self.http2 {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        if let Some(escaped) = self.framing.escaped(&buf.filled()[before..]) {
            // Longer than the buffer, perhaps.
            buf.set_filled(before);
            self.ahead = escaped;
            return self.poll_message(cx, buf);
        }
        let taken = match self.framing.accept(&buf.filled()[before..]) {
            Ok(taken) => taken,
            Err(malformed) => {
                buf.set_filled(before);
                return Poll::Ready(Err(self.malformed(malformed)));
            }
        };
        let next = &buf.filled()[before + taken..];
        if !next.is_empty() {
            self.ahead.extend_from_slice(next);
            buf.set_filled(before + taken);
        }
        Poll::Ready(Ok(()))
    }

    /// Tells how many of the first bytes that were read ahead are of the message.
    fn accept(&mut self, length: usize) -> io::Result<usize> {
        if self.http2 {
            return Ok(length);
        }
        match self.framing.accept(&self.ahead[..length]) {
            Ok(taken) => Ok(taken),
            Err(malformed) => Err(self.malformed(malformed)),
        }
    }

    fn malformed(&mut self, malformed: Malformed) -> io::Error {
        // What follows is read away at the most.
        self.framing = Framing::Open;
        if self.facts.awaiting_head.load(Ordering::Relaxed) {
            self.facts.bad_head.store(400, Ordering::Relaxed);
        }
        io::Error::new(io::ErrorKind::InvalidData, malformed)
    }

    /// Runs the clock for a request head; ready when it has run out.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let facts = &self.facts;
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Instant::now() + facts.settings.load().limits.idle_timeout);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if sleep.deadline() > deadline.into() {
            sleep.as_mut().reset(deadline.into());
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let awaiting = self.facts.awaiting_head.load(Ordering::Relaxed);
        let new = self.facts.new_head.load(Ordering::Relaxed);
        if new {
            self.facts.new_head.store(false, Ordering::Relaxed);
        }
        if new || !awaiting {
            self.deadline = None;
            self.head_began = false;
            self.head_bytes = 0;
        }
        if new {
            self.framing = Framing::head();
        } else if !awaiting {
            self.take_note_of_body();
        } else if !self.http2 && self.head_bytes > self.facts.settings.load().limits.max_header_size
        {
            // A head that is still not whole: it must not fill the memory first.
            self.facts.bad_head.store(431, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::other("request head too large")));
        }
        let before = buf.filled().len();
        let read = self.poll_message(cx, buf);
        self.head_bytes += (buf.filled().len() - before) as u64;
        match &read {
            Poll::Ready(Ok(())) if awaiting && buf.filled().len() > before && !self.head_began => {
                self.head_began = true;
                self.deadline = Some(Instant::now() + self.header_timeout);
            }
            Poll::Pending if awaiting && self.poll_deadline(cx).is_ready() => {
                return Poll::Ready(if self.head_began {
                    Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "request head took too long",
                    ))
                } else {
                    // Idle for too long: an end like any other.
                    Ok(())
                });
            }
            _ => {}
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.facts.reset.load(Ordering::Relaxed) {
            // The socket is reset when it is dropped.
            let socket = SockRef::from(&self.transport.get_ref().tcp().socket)
                .set_linger(Some(Duration::ZERO));
            return Poll::Ready(socket);
        }
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Stream {
    async fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody to tell.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Stream {
    fn id(&self) -> UniqueIDType {
        self.transport.get_ref().tcp().socket.as_raw_fd()
    }
}

impl Ssl for Stream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.ssl_digest.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.facts
            .tls
            .as_ref()
            .map(|tls| if tls.h2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Stream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest {
            established_ts: self.accepted,
            ..TimingDigest::default()
        })]
    }
}

impl GetProxyDigest for Stream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Stream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket_digest))
    }
}

#[async_trait]
impl Peek for Stream {
    /// Fills the buffer as far as the bytes agree with the HTTP/2 preface, the
    /// one thing pingora looks for; a short HTTP/1 request must not wait for more.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let mut seen = BytesMut::with_capacity(buf.len());
        // What is only looked at is judged when it is read.
        self.framing = Framing::Open;
        while seen.len() < buf.len() && PREFACE.starts_with(&seen) {
            let mut chunk = [0; 32];
            let want = (buf.len() - seen.len()).min(chunk.len());
            match self.read(&mut chunk[..want]).await {
                Ok(0) => break,
                Ok(read) => seen.extend_from_slice(&chunk[..read]),
                Err(error) => {
                    self.ahead = seen;
                    return Err(error);
                }
            }
        }
        self.http2 |= seen.starts_with(PREFACE);
        // It is read again.
        self.framing = Framing::head();
        self.head_bytes = 0;
        buf.fill(0);
        buf[..seen.len()].copy_from_slice(&seen);
        self.ahead = seen;
        Ok(true)
    }
}
