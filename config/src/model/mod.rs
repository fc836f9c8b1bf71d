//! What a configuration means: parsed, resolved, complete.
//!
//! A [`Model`] exists only if it is right: names are resolved, patterns are
//! compiled, defaults are filled in. It is plain data; the gateway compiles it
//! into a snapshot.

mod access;
mod backend;
mod egress;
mod listener;
mod process;
mod route;
mod waf;

pub use access::*;
pub use backend::*;
pub use egress::*;
pub use listener::*;
pub use process::*;
pub use route::*;
pub use waf::*;

use std::sync::Arc;

/// The meaning of one document.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Ingress listeners.
    pub listeners: Vec<Listener>,
    /// Certificates, in document order.
    pub certificates: Vec<Certificate>,
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
    /// Access lists, in document order.
    pub access_lists: Vec<Arc<AccessList>>,
    /// Routes; compile them with [`crate::route::RouteTable::new`].
    pub routes: Vec<Route>,
    /// The egress proxy; `None` where the document has no such section.
    pub egress: Option<Egress>,
    /// Management, admin, logs and limits.
    pub process: Process,
}
