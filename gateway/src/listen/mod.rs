//! Where connections come in.
//!
//! ```text
//! Listeners --one task each--> accept -> limit -> PROXY header -> TLS by SNI -> Stream -> ConnectionHandler
//!      |                 of udp: the socket is that of a `udp::Listening`
//!      \--plan, commit: add, keep, remove at run time; open connections stay
//! ```
//!
//! pingora's own listeners cannot be added or removed once they run, know no
//! PROXY protocol and give a handshake 60 seconds; so this is our own loop, and
//! what it hands to pingora is a [`Stream`].

mod accept;
mod facts;
mod framing;
mod handshake;
mod listeners;
mod per_address;
mod proxy_header;
mod socket;
mod stream;
mod tcp;
mod transport;

pub(crate) use accept::tune;
pub use facts::{ConnectionFacts, TlsConnection, address_value};
pub use framing::Body;
pub(crate) use framing::Framing;
pub(crate) use handshake::{Hello, refused_for, within};
pub use listeners::{ConnectionHandler, ListenError, Listeners, Plan};
pub(crate) use per_address::PerAddress;
pub use socket::{bind, bind_datagrams};
pub use stream::Stream;
pub use tcp::{TcpConnection, TcpHandler};
