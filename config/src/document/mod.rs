//! What people write: the configuration document.
//!
//! Every source of configuration (YAML files, Kubernetes objects) produces one
//! [`Document`]. Its types mirror the YAML, keys in camelCase, unknown keys
//! refused; values that need parsing (addresses, patterns) stay text here and
//! get their meaning, and their problems, in [`crate::validate`].
//!
//! ```text
//! YAML files -> read -> Document -> validate -> Model
//! ```

mod access;
mod authentication;
mod backend;
mod canary;
mod compression;
mod cors;
mod egress;
mod egress_identity;
mod egress_inspection;
mod egress_upstream_proxy;
mod egress_workloads;
mod error_page;
mod listener;
mod mirror;
mod policy;
mod process;
mod resolver;
mod route;
mod scalar;
mod share;
mod spelling;
mod tcp_route;
mod timestamp;
mod tls;
mod udp_route;
mod waf;
mod waf_limits;
mod waf_tuning;

pub use access::*;
pub use authentication::*;
pub use backend::*;
pub use canary::*;
pub use compression::*;
pub use cors::*;
pub use egress::*;
pub use egress_identity::*;
pub use egress_inspection::*;
pub use egress_upstream_proxy::*;
pub use egress_workloads::*;
pub use error_page::*;
pub use listener::*;
pub use mirror::*;
pub use policy::*;
pub use process::*;
pub use resolver::*;
pub use route::*;
pub use scalar::*;
pub use tcp_route::*;
pub use timestamp::*;
pub use tls::*;
pub use udp_route::*;
pub use waf::*;
pub use waf_limits::WafLimits;
pub use waf_tuning::*;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the path of a file begins with that is a key of a Secret of the cluster, as
/// `secret:shop/web-tls/tls.crt`.
pub const SECRET_SCHEME: &str = "secret:";

/// What the path of a file begins with that is a key of a ConfigMap with settings, as
/// `configmap:edge/rules/shop.conf`.
pub const CONFIG_MAP_SCHEME: &str = "configmap:";

/// The whole configuration of one Portcullis.
///
/// Every section may be left out; one without a value is an error. Several files in a directory merge: lists
/// concatenate, sections that are not lists may stand in one file only, and two
/// items of one list with the same name are an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Document {
    /// Where traffic comes in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Certificates for the HTTPS listeners, chosen by SNI.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Arc<Certificate>>,
    /// TLS by host, for the https listeners.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_policies: Vec<TlsPolicy>,
    /// Whose forwarding headers are believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_address: Option<ClientAddress>,
    /// Named address lists, used by `policies.access`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_lists: Vec<AccessList>,
    /// Named rate limits, used by `policies.rateLimits`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Named ways to find out who a client is, used by `policies.authentication`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authentications: Vec<Authentication>,
    /// Named WAF profiles, used by `policies.waf`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waf_profiles: Vec<WafProfile>,
    /// Named sets of error pages, used by `policies.errorPages`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_pages: Vec<ErrorPages>,
    /// Where requests go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<Arc<Backend>>,
    /// How named endpoints of backends are looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// Policies of every route that does not say otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Policies>,
    /// Which request goes to which backend.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Arc<Route>>,
    /// Connections that are passed on as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tcp_routes: Vec<TcpRoute>,
    /// Datagrams that are passed on as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub udp_routes: Vec<UdpRoute>,
    /// The egress proxy for workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Health, readiness and metrics, on a network address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management: Option<Management>,
    /// Configuration dump and audit look-up, on a local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// Access log and audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<Logs>,
    /// Limits of the process as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}
