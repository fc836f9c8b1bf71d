//! Looking into TLS: only where an entry of a policy asks for it.
//!
//! ```text
//! ClientHello that was judged -> TLS to the destination, verified -> certificate for its host, signed here -> TLS with
//! the client -> each request: canonical, decided on by the policies of now, inspected, given credentials -> destination
//! ```
//!
//! Nothing that a client has sent inside its tunnel leaves before the destination has shown a certificate for its name.
//! A plain request that an entry sends over TLS is treated as one inside, and has no tunnel.
//!
//! Both sides speak the same protocol, that which the destination has chosen of those that the client offers: so a
//! tunnel is one connection to a destination, and has no pool.

mod authority;
mod bodies;
mod credential;
mod exchange;
mod handshake;
mod held;
mod http1;
mod http2;
mod judge;
mod leaves;
mod message;
mod open;
mod originate;
mod tasks;
mod tunnel;
mod unsent;
mod upstream;
mod waf;

pub use authority::SigningAuthority;
pub(super) use http2::{MAX_ERROR_RESETS, MAX_PENDING_RESETS, MAX_SEND_BUFFER};
pub(super) use originate::originate;
pub(super) use tunnel::serve;

/// What is spoken inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name in ALPN (RFC 7301 section 6, RFC 9113 section 3.2).
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    /// Those that are spoken of what a client offers, in the order of preference.
    fn of<'a>(offered: impl Iterator<Item = &'a [u8]>) -> Vec<Self> {
        let offered: Vec<&[u8]> = offered.collect();
        let all = [Self::Http2, Self::Http1].into_iter();
        all.filter(|protocol| offered.contains(&protocol.alpn()))
            .collect()
    }
}
