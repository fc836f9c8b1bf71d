//! Datagrams that are passed on as they are.
//!
//! ```text
//! datagram --client's address and port, ours--> session?  yes: its endpoint
//!                 no: route -> access lists -> limits -> endpoint -> session
//! session: a socket of its own to the endpoint; what comes there goes to its client
//! sweep, twice a second: idle, route, access lists, endpoint, drain
//! ```
//!
//! An endpoint gets nothing of a client that may not pass, and what is kept of those
//! that may is bounded: for a session that would be one too many the oldest gives way
//! whose client has not spoken after an answer, or the datagram is dropped.

mod failures;
mod listening;
mod own;
mod session;
mod socket;

pub(crate) use listening::Listening;
pub use listening::UdpServices;
pub use own::Ports;
pub(crate) use socket::Socket;
