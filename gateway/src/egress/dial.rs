//! The connection to a destination: to judged addresses only, never to a name.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpStream, task::JoinSet};

use super::{TestAnswers, answer::Refusal};
use crate::listen::tune;

/// Lead of one address before the next is tried beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses that are tried.
const MAX_ADDRESSES: usize = 8;

/// Dials the addresses, IPv6 and IPv4 in turn, and returns the first connection
/// with the judged address it stands for.
///
/// # Errors
/// 502 or 504; 403 for a connection that ends in this very machine.
pub(super) async fn dial(
    addresses: &[IpAddr],
    port: u16,
    timeout: Duration,
    test: &TestAnswers,
) -> Result<(TcpStream, SocketAddr), Refusal> {
    let target = |judged: SocketAddr| match test.replace(judged) {
        Some(replaced) => (replaced, false),
        None => (judged, true),
    };
    race(addresses, port, timeout, target).await
}

/// The same for a proxy that the configuration names, which may be on this machine.
///
/// # Errors
/// 502 or 504.
pub(super) async fn dial_proxy(
    addresses: &[IpAddr],
    port: u16,
    timeout: Duration,
) -> Result<(TcpStream, SocketAddr), Refusal> {
    race(addresses, port, timeout, |address| (address, false)).await
}

/// `target` tells what is dialled for an address, and whether that must be another machine.
async fn race(
    addresses: &[IpAddr],
    port: u16,
    timeout: Duration,
    target: impl Fn(SocketAddr) -> (SocketAddr, bool),
) -> Result<(TcpStream, SocketAddr), Refusal> {
    // Most names have one, which needs no task of its own.
    if let [address] = addresses {
        let judged = SocketAddr::new(*address, port);
        return connect(judged, target(judged), timeout).await;
    }
    let mut attempts = JoinSet::new();
    for (turn, address) in interleave(addresses)
        .into_iter()
        .take(MAX_ADDRESSES)
        .enumerate()
    {
        let judged = SocketAddr::new(address, port);
        let target = target(judged);
        attempts.spawn(async move {
            tokio::time::sleep(STAGGER * u32::try_from(turn).unwrap_or(0)).await;
            connect(judged, target, timeout).await
        });
    }
    let mut last = Refusal::new(502, "connect_failed");
    while let Some(done) = attempts.join_next().await {
        match done {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(refusal)) => last = refusal,
            Err(error) => tracing::error!(%error, "dialling stopped"),
        }
    }
    Err(last)
}

async fn connect(
    judged: SocketAddr,
    (target, is_elsewhere): (SocketAddr, bool),
    timeout: Duration,
) -> Result<(TcpStream, SocketAddr), Refusal> {
    match tokio::time::timeout(timeout, TcpStream::connect(target)).await {
        Err(_) => Err(Refusal::new(504, "connect_timeout")),
        Ok(Err(error)) => {
            tracing::debug!(%judged, %error, "connect failed");
            Err(Refusal::new(502, "connect_failed"))
        }
        Ok(Ok(stream)) if is_elsewhere && is_self(&stream) => {
            Err(Refusal::new(403, "self_connect"))
        }
        Ok(Ok(stream)) => {
            // A small TLS record must not wait for the next one, and what keeps state on the way
            // sees that an idle tunnel is one. Who reads a socket that is gone finds out.
            let _ = tune(&stream);
            Ok((stream, judged))
        }
    }
}

/// Whether both ends have the same address: a listener of this machine, which no
/// table of ranges knows.
fn is_self(stream: &TcpStream) -> bool {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local.ip() == peer.ip(),
        _ => true,
    }
}

fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv6());
    let longest = v6.len().max(v4.len());
    (0..longest)
        .flat_map(|at| [v6.get(at), v4.get(at)])
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpSocket, time::timeout};

    use super::*;

    /// Why nothing is reached at a port of this machine, which no policy would let anybody dial.
    async fn refused(port: u16, timeout: Duration) -> (u16, &'static str) {
        let here = [IpAddr::from([127, 0, 0, 1])];
        let dialled = dial(&here, port, timeout, &TestAnswers::default()).await;
        let refusal = dialled.expect_err("a refusal");
        (refusal.status, refusal.reason)
    }

    #[tokio::test]
    async fn what_is_not_reached_has_a_status_of_its_own_and_this_machine_is_refused() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let soon = Duration::from_millis(500);
        let second = Duration::from_secs(1);
        assert_eq!(refused(address.port(), second).await, (403, "self_connect"));
        // Where the queue of a listener is full nothing is answered.
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(soon, TcpStream::connect(address)).await {
            waiting.push(connected);
        }
        let port = address.port();
        assert_eq!(refused(port, soon).await, (504, "connect_timeout"));
        drop((listener, waiting));
        assert_eq!(refused(port, second).await, (502, "connect_failed"));
    }
}
