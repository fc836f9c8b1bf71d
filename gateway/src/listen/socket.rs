//! Listening sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Bytes of datagrams that wait to be read.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Binds a listening socket.
///
/// `[::]` also takes IPv4 clients; where the machine has no IPv6 it falls back
/// to `0.0.0.0`.
///
/// # Errors
/// Those of the system, such as an address in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    or_ipv4(address, |address| {
        let socket = bind_exactly(address, Type::STREAM, Protocol::TCP)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    })
}

/// Binds a socket for datagrams, in the same way.
///
/// # Errors
/// Those of the system, such as an address in use.
pub fn bind_datagrams(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    or_ipv4(address, |address| {
        let socket = bind_exactly(address, Type::DGRAM, Protocol::UDP)?;
        // The system gives what it allows (`net.core.rmem_max`).
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        Ok(socket.into())
    })
}

fn or_ipv4<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !has_ipv6() => bind(
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()),
        ),
        bound => bound,
    }
}

fn has_ipv6() -> bool {
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).is_ok()
        && std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn bind_exactly(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    // With datagrams it would let two sockets have one address.
    socket.set_reuse_address(kind == Type::STREAM)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
