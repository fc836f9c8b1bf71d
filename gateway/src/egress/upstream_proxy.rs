//! A destination behind another proxy, which is asked for it as clients ask this one.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use portcullis_config::egress::{Authority, Host, UpstreamProxyResolve};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::{
    answer::Refusal, dial::dial_proxy, head::head_end, prefixed::Prefixed, resolver::Resolver,
};
use crate::snapshot::CompiledUpstreamProxy;

/// A connection to a destination: a socket, or whatever leads through another proxy. What is written
/// to it is not sent before it is flushed: TLS may hold it.
pub(super) type UpstreamStream = Either<TcpStream, Box<Prefixed<ProxyStream>>>;

/// A connection to a proxy.
type ProxyStream = Either<TcpStream, TlsStream<TcpStream>>;

/// Bytes of the head of an answer.
const MAX_HEAD: usize = 16 << 10;
/// Addresses of a destination that a proxy is asked for.
const MAX_ADDRESSES: usize = 4;

/// What a proxy is asked with.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) proxy: &'a Arc<CompiledUpstreamProxy>,
    /// Looks up the names of proxies.
    pub(super) resolver: &'a Resolver,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
}

/// A tunnel through a proxy, and the address that it was asked for by.
///
/// # Errors
/// 502 and 504 for a proxy that is not reached or does not open it.
pub(super) async fn tunnel(
    asking: Asking<'_>,
    authority: &Authority,
    addresses: &[IpAddr],
) -> Result<(UpstreamStream, Option<SocketAddr>), Refusal> {
    let asked = targets(asking.proxy, authority, addresses);
    within(asking, ask(asking, asked)).await
}

async fn within<T>(
    asking: Asking<'_>,
    opening: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let opened = tokio::time::timeout(asking.proxy.answer_timeout, opening).await;
    opened.unwrap_or_else(|_| Err(Refusal::new(504, "upstream_proxy_timeout")))
}

/// Asks for one after the other, until one is reached.
async fn ask(
    asking: Asking<'_>,
    asked: Vec<(String, Option<SocketAddr>)>,
) -> Result<(UpstreamStream, Option<SocketAddr>), Refusal> {
    let mut last = Refusal::new(502, "upstream_proxy_failed");
    for (target, address) in asked {
        let mut stream = connect(asking).await?;
        match open(&mut stream, &target, asking.proxy).await {
            Ok(rest) => return Ok((joined(stream, rest), address)),
            // Another address may be reached; a proxy that does not want this one wants none.
            Err(refusal) if refusal.reason == "upstream_proxy_unreachable" => last = refusal,
            Err(refusal) => return Err(refusal),
        }
    }
    Err(last)
}

/// A connection to a proxy that plain requests are sent to as to a proxy.
///
/// # Errors
/// As above.
pub(super) async fn forwarder(asking: Asking<'_>) -> Result<UpstreamStream, Refusal> {
    let stream = within(asking, connect(asking)).await?;
    Ok(joined(stream, BytesMut::new()))
}

/// A socket with nothing before it is just that: much is shorter for it.
fn joined(stream: ProxyStream, prefix: BytesMut) -> UpstreamStream {
    match stream {
        Either::Left(socket) if prefix.is_empty() => Either::Left(socket),
        stream => Either::Right(Box::new(Prefixed { prefix, stream })),
    }
}

/// What a proxy is asked for, in turn. Addresses of IPv4 go first: a proxy is often there because
/// its network has nothing else.
fn targets(
    proxy: &CompiledUpstreamProxy,
    authority: &Authority,
    addresses: &[IpAddr],
) -> Vec<(String, Option<SocketAddr>)> {
    if proxy.resolve != UpstreamProxyResolve::Pinned {
        return vec![(authority.to_string(), None)];
    }
    let mut addresses = addresses.to_vec();
    addresses.sort_by_key(IpAddr::is_ipv6);
    let asked = addresses.into_iter().take(MAX_ADDRESSES);
    let asked = asked.map(|address| SocketAddr::new(address, authority.port));
    asked
        .map(|address| (address.to_string(), Some(address)))
        .collect()
}

/// A connection to the first of its addresses that takes one. It begins with the one that did so
/// last: who is not there is not waited for each time.
async fn connect(asking: Asking<'_>) -> Result<ProxyStream, Refusal> {
    let proxy = asking.proxy;
    let mut last = Refusal::new(502, "upstream_proxy_failed");
    let count = proxy.addresses.len();
    let first = proxy.good.load(Ordering::Relaxed);
    for at in (0..count).map(|turn| (first + turn) % count) {
        let Some(place) = proxy.addresses.get(at) else {
            continue;
        };
        match connect_to(place, asking).await {
            Ok(stream) => {
                proxy.good.store(at, Ordering::Relaxed);
                return Ok(stream);
            }
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

async fn connect_to(place: &Authority, asking: Asking<'_>) -> Result<ProxyStream, Refusal> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        let proxy = &asking.proxy.name;
        tracing::debug!(%proxy, %place, %error, "{what}");
        Refusal::new(502, "upstream_proxy_failed")
    };
    let addresses = match &place.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => asking
            .resolver
            .resolve(name)
            .await
            .map_err(|error| failed("the name of an upstream proxy is not known", &error))?,
    };
    let dialled = dial_proxy(&addresses, place.port, asking.connect_timeout).await;
    let (socket, _) = dialled.map_err(|refusal| match refusal.status {
        504 => Refusal::new(504, "upstream_proxy_timeout"),
        _ => Refusal::new(502, "upstream_proxy_failed"),
    })?;
    let Some(tls) = &asking.proxy.client else {
        return Ok(Either::Left(socket));
    };
    let named = asking.proxy.tls.as_ref();
    let named = named.and_then(|tls| tls.server_name.as_ref());
    let name = match named.unwrap_or(&place.host) {
        Host::Name(name) => ServerName::try_from(name.clone()),
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
    };
    let name = name.map_err(|error| failed("no name to verify", &error))?;
    let shaking = TlsConnector::from(Arc::clone(tls)).connect(name, socket);
    match tokio::time::timeout(asking.handshake_timeout, shaking).await {
        Err(_) => Err(Refusal::new(504, "upstream_proxy_timeout")),
        Ok(Err(error)) => Err(failed("TLS of an upstream proxy failed", &error)),
        Ok(Ok(stream)) => Ok(Either::Right(stream)),
    }
}

/// Asks for a tunnel (RFC 9110 section 9.3.6), and returns what came behind the answer.
async fn open(
    stream: &mut ProxyStream,
    target: &str,
    proxy: &CompiledUpstreamProxy,
) -> Result<BytesMut, Refusal> {
    let failed = |error: io::Error| {
        tracing::debug!(proxy = %proxy.name, %error, "an upstream proxy broke off");
        Refusal::new(502, "upstream_proxy_failed")
    };
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(credentials) = &proxy.authorization {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(credentials.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut buffer = BytesMut::new();
    loop {
        while head_end(&buffer, 0).is_none() {
            if buffer.len() > MAX_HEAD || stream.read_buf(&mut buffer).await.map_err(failed)? == 0 {
                return Err(Refusal::new(502, "upstream_proxy_failed"));
            }
        }
        let (status, length) = status_of(&buffer).map_err(failed)?;
        buffer.advance(length);
        match status {
            // Others may come before the answer (RFC 9110 section 15.2).
            100..=199 => {}
            200..=299 => return Ok(buffer),
            _ => {
                tracing::debug!(proxy = %proxy.name, status, "an upstream proxy opens no tunnel");
                return Err(refused(status));
            }
        }
    }
}

/// The status of an answer, and the length of its head.
fn status_of(buffer: &[u8]) -> io::Result<(u16, usize)> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => {
            let status = response.code.ok_or_else(|| bad("no status"))?;
            Ok((status, length))
        }
        Ok(httparse::Status::Partial) => Err(bad("no head of an answer")),
        Err(error) => Err(bad(&error.to_string())),
    }
}

/// What a client is told of a status that is no tunnel. The status itself is about this proxy: a
/// client that was told 407 would show its credentials.
pub(super) fn refused(status: u16) -> Refusal {
    Refusal::new(
        502,
        match status {
            407 => "upstream_proxy_unauthorized",
            502..=504 => "upstream_proxy_unreachable",
            _ => "upstream_proxy_refused",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_proxy_is_read_to_its_end_and_no_further() {
        let answer = b"HTTP/1.1 200 OK\r\nVia: p\r\n\r\nSSH-2.0";
        assert_eq!(status_of(answer).expect("one"), (200, answer.len() - 7));
        assert_eq!(status_of(b"HTTP/1.0 407 No\r\n\r\n").expect("one").0, 407);
        for bad in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "\r\n\r\n"] {
            status_of(bad.as_bytes()).expect_err(bad);
        }
    }

    #[test]
    fn a_status_of_a_proxy_is_never_that_of_this_one() {
        for (status, reason) in [
            (407, "upstream_proxy_unauthorized"),
            (403, "upstream_proxy_refused"),
            (503, "upstream_proxy_unreachable"),
            (301, "upstream_proxy_refused"),
        ] {
            let refusal = refused(status);
            assert_eq!((refusal.status, refusal.reason), (502, reason));
        }
    }
}
