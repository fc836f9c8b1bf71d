//! What a configuration means: parsed, resolved, complete.
//!
//! A [`Model`] exists only if it is right: names are resolved, patterns are
//! compiled, defaults are filled in. It is plain data; the gateway compiles it
//! into a snapshot.

mod access;
mod authentication;
mod backend;
mod egress;
mod egress_workloads;
mod error_page;
mod listener;
mod milli_cpu;
mod process;
mod route;
mod tcp_route;
mod tls;
mod udp_route;
mod waf;
mod waf_limits;

pub use access::*;
pub use authentication::*;
pub use backend::*;
pub use egress::*;
pub use egress_workloads::*;
pub use error_page::*;
pub use listener::*;
pub use milli_cpu::*;
pub use process::*;
pub use route::*;
pub use tcp_route::*;
pub use tls::*;
pub use udp_route::*;
pub use waf::*;
pub use waf_limits::WafLimits;

use std::sync::Arc;

/// The meaning of one document.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Ingress listeners.
    pub listeners: Vec<Listener>,
    /// Certificates, in document order.
    pub certificates: Vec<Arc<Certificate>>,
    /// TLS policies, in document order.
    pub tls_policies: Vec<TlsPolicy>,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: crate::access::AddressSet,
    /// Backends, in document order.
    pub backends: Vec<Arc<Backend>>,
    /// How their named endpoints are looked up.
    pub resolver: Resolver,
    /// WAF profiles, in document order; rules refer to them by name.
    pub waf_profiles: Vec<Arc<WafProfile>>,
    /// Rate limits, in document order.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// Authentications, in document order.
    pub authentications: Vec<Arc<Authentication>>,
    /// Access lists, in document order.
    pub access_lists: Vec<Arc<AccessList>>,
    /// Sets of error pages, in document order.
    pub error_pages: Vec<Arc<ErrorPages>>,
    /// Those for requests that no rule takes.
    pub default_error_pages: Vec<Arc<ErrorPages>>,
    /// Routes; compile them with [`crate::route::RouteTable::new`].
    pub routes: Vec<Arc<Route>>,
    /// TCP routes, in document order.
    pub tcp_routes: Vec<TcpRoute>,
    /// UDP routes, in document order.
    pub udp_routes: Vec<UdpRoute>,
    /// The egress proxy; `None` where the document has no such section.
    pub egress: Option<Egress>,
    /// Management, admin, logs and limits.
    pub process: Process,
}
