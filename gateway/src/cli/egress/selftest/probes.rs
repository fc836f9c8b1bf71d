//! Tries of a way out that should be closed.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Something has answered.
    Open,
    /// Nothing has, and how that showed.
    Closed(String),
    /// It could not be tried, which proves nothing.
    Untried(String),
}

/// Smallest datagram with which a QUIC connection may begin (RFC 9000 section 14.1).
const QUIC_MIN_BYTES: usize = 1200;

/// A version that no server has: it answers with those that it has (RFC 9000 sections 6.1, 15).
const QUIC_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];

/// Connects. A refusal counts as closed: a plugin may answer so for the target.
pub(super) async fn tcp(target: SocketAddr, time: Duration) -> Found {
    match timeout(time, TcpStream::connect(target)).await {
        Err(_) => silent(time),
        Ok(Ok(_)) => Found::Open,
        Ok(Err(error)) => failed(&error),
    }
}

/// Asks for the address of a name outside, and for no answer in particular: any shows a way.
pub(super) async fn dns(server: SocketAddr, time: Duration) -> Found {
    udp(server, &dns_query("example.com"), time).await
}

/// Begins a connection of QUIC.
pub(super) async fn quic(target: SocketAddr, time: Duration) -> Found {
    udp(target, &quic_beginning(), time).await
}

/// Sends a datagram, again half way through the time since one may be lost, and waits for one.
async fn udp(target: SocketAddr, datagram: &[u8], time: Duration) -> Found {
    let own: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = match UdpSocket::bind(own).await {
        Ok(socket) => socket,
        Err(error) => return Found::Untried(error.to_string()),
    };
    if let Err(error) = socket.connect(target).await {
        return failed(&error);
    }
    let mut answer = [0; 2048];
    for _ in 0..2 {
        if let Err(error) = socket.send(datagram).await {
            return failed(&error);
        }
        match timeout(time / 2, socket.recv(&mut answer)).await {
            Err(_) => {}
            Ok(Ok(_)) => return Found::Open,
            Ok(Err(error)) => return failed(&error),
        }
    }
    silent(time)
}

fn silent(time: Duration) -> Found {
    Found::Closed(format!("silent for {} s", time.as_secs()))
}

/// What an error of the network says; one of this machine's own says nothing of the way.
fn failed(error: &io::Error) -> Found {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::TimedOut => Found::Closed(error.kind().to_string()),
        _ => Found::Untried(error.to_string()),
    }
}

/// A query for the A record of a name whose labels are plain (RFC 1035 section 4.1).
fn dns_query(name: &str) -> Vec<u8> {
    let id = fastrand::u16(..).to_be_bytes();
    // Recursion desired, one question.
    let mut query = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        query.extend(u8::try_from(label.len()));
        query.extend(label.as_bytes());
    }
    // The root, type A, class IN.
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// A packet with a long header and ids of its own, filled up (RFC 8999 section 5.1).
fn quic_beginning() -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend(QUIC_VERSION);
    for _ in 0..2 {
        packet.push(8);
        packet.extend(fastrand::u64(..).to_be_bytes());
    }
    packet.resize(QUIC_MIN_BYTES, 0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_that_a_resolver_reads() {
        use hickory_resolver::proto::op::Message;
        let read = Message::from_vec(&dns_query("example.com")).expect("a message");
        let question = read.queries.first().expect("a question");
        assert_eq!(question.name().to_string(), "example.com.");
        assert_eq!(question.query_type().to_string(), "A");
        assert!(read.metadata.recursion_desired);
    }

    #[test]
    fn a_quic_packet_is_long_enough_to_be_answered() {
        let packet = quic_beginning();
        assert_eq!(packet.len(), QUIC_MIN_BYTES);
        assert_eq!(packet[0] & 0x80, 0x80, "a long header");
        assert_eq!((packet[5], packet[14]), (8, 8), "lengths of the ids");
    }
}
