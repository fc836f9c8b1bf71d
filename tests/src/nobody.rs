//! An address that refuses connections.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// An address of this machine at which nobody listens, and nobody else can while this is there: one
/// that was only free a moment ago may be that of another test now.
#[derive(Debug)]
pub struct Nobody {
    /// Where nobody listens.
    pub address: SocketAddr,
    _bound: Socket,
}

impl Nobody {
    /// Takes an address.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn here() -> Self {
        let take = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
            let address = socket.local_addr()?.as_socket();
            std::io::Result::Ok((socket, address))
        };
        let (bound, address) = take().expect("loopback has a free port");
        Self {
            address: address.expect("an address of IPv4"),
            _bound: bound,
        }
    }
}
