//! A CONNECT tunnel: its first bytes, then the relay.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use portcullis_config::{
    egress::{Authority, Host},
    model::EgressLimits,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use super::client_hello::{FirstBytes, first_bytes};

/// Bytes that are relayed at once; taken only while data flows.
const CHUNK: usize = 64 << 10;
/// How often the limits of an open tunnel are looked at.
const TICK: Duration = Duration::from_millis(500);

/// Reads the first bytes until they can be judged; none has left yet.
///
/// On port 80 a client may speak in clear; what looks like TLS is judged there too.
///
/// # Errors
/// The reason code of a tunnel that is to be cut.
pub(super) async fn judge_first_bytes(
    client: &mut TcpStream,
    buffer: &mut BytesMut,
    authority: &Authority,
    limits: &EgressLimits,
) -> Result<(), &'static str> {
    let reading = async {
        loop {
            let first = first_bytes(buffer);
            match first {
                FirstBytes::Hello(name) => return sni_agrees(name.as_deref(), &authority.host),
                FirstBytes::NotTls if authority.port == 80 => return Ok(()),
                FirstBytes::NotTls => return Err("not_tls"),
                FirstBytes::Incomplete => {}
            }
            if buffer.len() as u64 > limits.max_client_hello_size {
                return Err("client_hello_too_large");
            }
            match client.read_buf(buffer).await {
                Ok(0) | Err(_) => return Err("client_closed"),
                Ok(_) => {}
            }
        }
    };
    match tokio::time::timeout(limits.client_hello_timeout, reading).await {
        Ok(judged) => judged,
        Err(_) => Err("client_hello_timeout"),
    }
}

fn sni_agrees(sni: Option<&str>, host: &Host) -> Result<(), &'static str> {
    match (sni, host) {
        (Some(sni), Host::Name(name)) if sni.strip_suffix('.').unwrap_or(sni) == name => Ok(()),
        (None, Host::Address(_)) => Ok(()),
        (None, Host::Name(_)) => Err("sni_missing"),
        (Some(_), _) => Err("sni_mismatch"),
    }
}

/// Bytes that went through a tunnel, counted while they go.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
}

/// Relays both ways until both sides closed, a limit is reached, or `cut` says
/// why it must end. Returns why, where neither side closed.
pub(super) async fn relay(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    limits: &EgressLimits,
    traffic: &Traffic,
    mut cut: impl FnMut() -> Option<&'static str>,
) -> Option<&'static str> {
    let began = Instant::now();
    let (mut client_read, mut client_write) = client.split();
    let (mut upstream_read, mut upstream_write) = upstream.split();
    let both = async {
        tokio::join!(
            copy(&mut client_read, &mut upstream_write, &traffic.up),
            copy(&mut upstream_read, &mut client_write, &traffic.down),
        )
    };
    tokio::pin!(both);
    let (mut seen, mut quiet_since) = (0, began);
    loop {
        tokio::select! {
            _ = &mut both => return None,
            () = tokio::time::sleep(TICK) => {}
        }
        let now = traffic.up.load(Ordering::Relaxed) + traffic.down.load(Ordering::Relaxed);
        if now != seen {
            (seen, quiet_since) = (now, Instant::now());
        }
        if quiet_since.elapsed() >= limits.idle_timeout {
            return Some("idle_timeout");
        }
        if began.elapsed() >= limits.max_lifetime {
            return Some("max_lifetime");
        }
        if let Some(reason) = cut() {
            return Some(reason);
        }
    }
}

/// Copies one way; the end of the source closes the sink's direction alone.
async fn copy(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    count: &AtomicU64,
) -> io::Result<()> {
    let copied = async {
        loop {
            // No buffer while nothing comes: idle tunnels are many.
            from.readable().await?;
            let mut chunk = BytesMut::with_capacity(CHUNK);
            match from.try_read_buf(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    to.write_all(&chunk).await?;
                    count.fetch_add(read as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let result = copied.await;
    // The other side may be gone already.
    let _ = to.shutdown().await;
    result
}
