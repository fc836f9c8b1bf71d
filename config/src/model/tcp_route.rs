//! TCP routes.

use std::{sync::Arc, time::Duration};

use super::{AccessList, Backend, HostPattern, Listener, ListenerProtocol};
pub use crate::document::ProxyProtocol;

/// Connections that are passed on to a backend.
#[derive(Clone, Debug)]
pub struct TcpRoute {
    /// Unique name.
    pub name: String,
    /// Names of its listeners; empty means all that can have it.
    pub listeners: Vec<String>,
    /// Hosts by SNI; empty means every connection of a tcp listener.
    pub hosts: Vec<HostPattern>,
    /// Access lists; a connection passes all.
    pub access: Vec<Arc<AccessList>>,
    /// Connections open at once.
    pub max_connections: u32,
    /// Time to connect to an endpoint.
    pub connect: Duration,
    /// Silence of both sides.
    pub idle: Duration,
    /// Backends by weight; empty, or all of weight 0, closes every connection.
    pub backends: Vec<(Arc<Backend>, u32)>,
}

impl TcpRoute {
    /// Tells whether it takes connections of a listener.
    pub fn holds_on(&self, listener: &Listener) -> bool {
        let protocol = match self.hosts.is_empty() {
            true => ListenerProtocol::Tcp,
            false => ListenerProtocol::Https,
        };
        listener.protocol == protocol
            && (self.listeners.is_empty() || self.listeners.contains(&listener.name))
    }
}
