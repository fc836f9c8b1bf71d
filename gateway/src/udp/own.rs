//! Datagrams that are our own: what a listener sends to another of this process, or to
//! itself, would be answered, and the answer answered, for ever. A sender can be forged,
//! so that one datagram is enough to begin it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};

use super::socket::address;

/// How long addresses of interfaces are known for.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// The ports of the udp listeners of a process.
#[derive(Debug, Default)]
pub struct Ports(ArcSwap<Vec<u16>>);

/// The port of a listener, as long as it reads.
#[derive(Debug)]
pub(super) struct Entered {
    ports: Arc<Ports>,
    port: u16,
}

impl Ports {
    pub(super) fn enter(self: &Arc<Self>, port: u16) -> Entered {
        self.0.rcu(|ports| {
            let mut ports = ports.to_vec();
            ports.push(port);
            ports
        });
        Entered {
            ports: Arc::clone(self),
            port,
        }
    }

    /// Whether a datagram comes from one of the listeners.
    pub(super) fn sent(&self, from: SocketAddr, to: IpAddr, own: &mut OwnAddresses) -> bool {
        goes_round(from, to, &self.0.load(), |ip| own.contain(ip))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Two listeners may have the same port at two addresses.
        self.ports.0.rcu(|ports| {
            let mut ports = ports.to_vec();
            if let Some(at) = ports.iter().position(|port| *port == self.port) {
                ports.swap_remove(at);
            }
            ports
        });
    }
}

/// Addresses of the interfaces of this machine.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    known: Vec<IpAddr>,
    read: Option<Instant>,
}

impl OwnAddresses {
    fn contain(&mut self, ip: IpAddr) -> bool {
        if self.read.is_none_or(|read| read.elapsed() >= KNOWN_FOR) {
            self.read = Some(Instant::now());
            match getifaddrs() {
                Ok(interfaces) => {
                    let addresses = interfaces.filter_map(|known| known.address);
                    let ip = |known: SockaddrStorage| Some(address(&known)?.ip().to_canonical());
                    self.known = addresses.filter_map(ip).collect();
                }
                Err(error) => tracing::warn!(%error, "addresses of interfaces not read"),
            }
        }
        self.known.contains(&ip)
    }
}

/// Whether an answer to a sender would come to a listener on one of these ports. Scopes
/// do not count: an address of ours has one or not, by how it was asked.
fn goes_round(
    from: SocketAddr,
    to: IpAddr,
    ports: &[u16],
    is_ours: impl FnOnce(IpAddr) -> bool,
) -> bool {
    let ip = from.ip().to_canonical();
    ports.contains(&from.port())
        && (ip == to.to_canonical() || ip.is_loopback() || ip.is_unspecified() || is_ours(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_listener_of_ours_goes_round() {
        let ports = [53, 5000];
        for (from, to, expected) in [
            // To itself, and to another listener.
            ("10.0.0.1:53", "10.0.0.1", true),
            ("10.0.0.1:5000", "10.0.0.1", true),
            ("[::ffff:10.0.0.1]:5000", "10.0.0.1", true),
            ("10.0.0.1:5000", "::ffff:10.0.0.1", true),
            // From another address of ours, to whichever.
            ("10.0.0.2:5000", "10.0.0.1", true),
            ("[::ffff:10.0.0.2]:53", "::", true),
            ("127.0.0.9:53", "::", true),
            ("[::1]:53", "fd00::1", true),
            ("[fe80::1%2]:53", "fe80::1", true),
            ("[fe80::1%2]:53", "::", true),
            // Clients of this machine, and those elsewhere with the same port.
            ("10.0.0.1:5001", "10.0.0.1", false),
            ("127.0.0.1:40000", "127.0.0.1", false),
            ("192.0.2.1:53", "10.0.0.1", false),
            ("[fe80::2%2]:53", "fe80::1", false),
        ] {
            let ours = ["10.0.0.1", "10.0.0.2", "fe80::1"];
            let is_ours = |ip: IpAddr| ours.contains(&&*ip.to_string());
            let from: SocketAddr = from.parse().expect("an address");
            let to = to.parse().expect("an address");
            assert_eq!(goes_round(from, to, &ports, is_ours), expected, "{from}");
        }
    }

    #[test]
    fn a_port_is_known_as_long_as_a_listener_has_it() {
        let ports = Arc::<Ports>::default();
        let mut own = OwnAddresses::default();
        let from = SocketAddr::from(([127, 0, 0, 1], 53));
        let mut sent = || ports.sent(from, [192, 0, 2, 1].into(), &mut own);
        assert!(!sent());
        let (one, other) = (ports.enter(53), ports.enter(53));
        drop(one);
        assert!(sent());
        drop(other);
        assert!(!sent());
        assert!(own.contain([127, 0, 0, 1].into()));
        assert!(!own.contain([192, 0, 2, 1].into()));
    }
}
