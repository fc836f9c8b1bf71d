//! A UDP socket of a listener, which tells to which of its addresses a datagram came
//! and answers from there.
//!
//! On `[::]` the system would choose the address to answer from by the route to the
//! client, and a client takes no answer from an address that it did not ask.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::{
    cmsg_space,
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
        setsockopt, sockopt,
    },
};
use tokio::{io::Interest, net::UdpSocket};

use crate::listen::bind_datagrams;

/// The socket.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
}

/// What is known of a datagram that was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    /// Its sender.
    pub(super) from: SocketAddr,
    /// Our address that it was sent to; unspecified where that is none to answer from.
    pub(super) to: IpAddr,
    /// Its bytes in the buffer.
    pub(super) size: usize,
    /// Whether there were more than the buffer has room for.
    pub(super) is_cut: bool,
}

impl Socket {
    /// Binds a socket, `[::]` for IPv4 too.
    ///
    /// # Errors
    /// Those of the system, such as an address in use.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::from_std(bind_datagrams(address)?)?;
        let local = socket.local_addr()?;
        match local {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        Ok(Self { socket, local })
    }

    /// Where it is bound.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits for a datagram.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        self.socket
            .async_io(Interest::READABLE, || self.try_receive(buffer))
            .await
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut control = cmsg_space!(in6_pktinfo);
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let from = received.address.as_ref().and_then(address);
        let to = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // The address of ours that a broadcast came by.
                let bits = u32::from_be(info.ipi_spec_dst.s_addr);
                Some(IpAddr::from(Ipv4Addr::from_bits(bits)))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
            }
            _ => None,
        });
        let unspecified = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        Ok(Datagram {
            from: from.ok_or_else(|| io::Error::other("a datagram without a sender"))?,
            to: to.filter(is_one_host).unwrap_or(unspecified),
            size: received.bytes,
            is_cut: received.flags.contains(MsgFlags::MSG_TRUNC),
        })
    }

    /// Sends a datagram from an address of ours, where there is room for it.
    pub(super) fn send(&self, bytes: &[u8], from: IpAddr, to: SocketAddr) -> io::Result<()> {
        let (v4, v6);
        let source = match from {
            from if from.is_unspecified() => None,
            IpAddr::V4(from) => {
                v4 = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr {
                        s_addr: from.to_bits().to_be(),
                    },
                    ipi_addr: in_addr { s_addr: 0 },
                };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            IpAddr::V6(from) => {
                v6 = in6_pktinfo {
                    ipi6_addr: in6_addr {
                        s6_addr: from.octets(),
                    },
                    ipi6_ifindex: 0,
                };
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
        };
        sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            source.as_slice(),
            MsgFlags::empty(),
            Some(&SockaddrStorage::from(to)),
        )?;
        Ok(())
    }
}

/// Whether an address can be one of ours, and not that of a group.
fn is_one_host(address: &IpAddr) -> bool {
    let address = address.to_canonical();
    !address.is_multicast() && address != IpAddr::from(Ipv4Addr::BROADCAST)
}

pub(super) fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    Some(SocketAddrV6::from(*storage.as_sockaddr_in6()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        let socket = Socket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).expect("a port");
        let port = socket.local().port();
        for asked in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 9, 8, 7)] {
            let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let to = SocketAddr::from((asked, port));
            client.send_to(b"question", to).await.expect("sent");
            let mut buffer = [0; 5];
            let datagram = socket.receive(&mut buffer).await.expect("received");
            assert_eq!(datagram.to, IpAddr::from(asked));
            assert_eq!(&buffer[..datagram.size], b"quest");
            assert!(datagram.is_cut);
            socket
                .send(b"answer", datagram.to, datagram.from)
                .expect("sent");
            let (size, from) = client.recv_from(&mut buffer).await.expect("received");
            assert_eq!((size, from), (5, to));
        }
    }
}
