//! UDP routes.

use std::{sync::Arc, time::Duration};

use super::{AccessList, Backend, Listener, ListenerProtocol};

/// Datagrams that are passed on to a backend.
#[derive(Clone, Debug)]
pub struct UdpRoute {
    /// Unique name.
    pub name: String,
    /// Names of its listeners; empty means every udp listener.
    pub listeners: Vec<String>,
    /// Access lists; a client passes all.
    pub access: Vec<Arc<AccessList>>,
    /// Sessions open at once.
    pub max_sessions: u32,
    /// Bytes in a datagram.
    pub max_datagram_size: u64,
    /// Datagrams that answer one; 0 is not known.
    pub responses: u32,
    /// Silence of both sides.
    pub idle: Duration,
    /// Backends by weight; empty, or all of weight 0, drops every datagram.
    pub backends: Vec<(Arc<Backend>, u32)>,
}

impl UdpRoute {
    /// Tells whether it takes datagrams of a listener.
    pub fn holds_on(&self, listener: &Listener) -> bool {
        listener.protocol == ListenerProtocol::Udp
            && (self.listeners.is_empty() || self.listeners.contains(&listener.name))
    }
}
