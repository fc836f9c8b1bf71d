//! Layer 4: connections that are passed on as they are.
//!
//! ```text
//! accept -> PROXY header -> (ClientHello names the host) -> route
//!    -> access lists -> limit -> endpoint -> connect -> PROXY header -> relay within limits -> access log
//! ```
//!
//! Nothing is sent to an endpoint before the client may pass. While a connection is
//! open each configuration that comes is asked whether it still may.

mod connect;
mod proxy_header;
mod serve;

pub(crate) use connect::take_place;
pub(crate) use serve::{Denied, access};
pub use serve::{TcpRelay, TcpServices};
