//! What namespaces with a label get, so that their pods go out through the egress proxy.

use std::collections::{BTreeMap, BTreeSet};

use super::MilliCpu;
pub use crate::document::{ClusterTraffic, ConfigMapKey, InCluster, InjectedIdentity};
use crate::egress::{NoProxy, ProxyUrl};

/// What namespaces with a label get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressWorkloads {
    /// Key of the label of these namespaces.
    pub namespace_label: String,
    /// What their pods are given.
    pub injection: Option<PodInjection>,
    /// What their NetworkPolicy leaves open.
    pub network_policies: Option<KeptNetworkPolicies>,
}

/// What pods are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInjection {
    /// The proxy as pods reach it.
    pub proxy: ProxyUrl,
    /// How they show who they are.
    pub identity: Identified,
    /// Whether programs go to what is in the cluster by themselves, or through the proxy.
    pub cluster_traffic: ClusterTraffic,
    /// What `NO_PROXY` has. The address of the API server is not among it.
    pub no_proxy: NoProxy,
    /// Authorities that programs are to trust, in the namespace of each pod.
    pub trust: Option<ConfigMapKey>,
}

/// How pods show who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// A sidecar shows the token.
    Relay(InjectedRelay, InjectedToken),
    /// Programs show the token.
    Token(InjectedToken),
    /// They do not.
    None,
}

/// The relay that pods are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedRelay {
    /// Its image.
    pub image: String,
    /// Its port on the loopback of the pod.
    pub port: u16,
    /// Bytes of its limit of memory.
    pub memory_limit: u64,
    /// Bytes of memory that it asks for; no more than its limit.
    pub memory_request: u64,
    /// What it asks for of processors; no more than its limit.
    pub cpu_request: MilliCpu,
    /// Its limit of processors.
    pub cpu_limit: Option<MilliCpu>,
    /// What the certificate of the proxy is judged by, in the namespace of each pod.
    pub proxy_ca: Option<ConfigMapKey>,
}

/// The token that pods are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedToken {
    /// Its audience.
    pub audience: String,
    /// How long it is good, in seconds.
    pub expiration_seconds: u64,
}

/// What a NetworkPolicy leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptNetworkPolicies {
    /// Namespace of the proxy's pods; `None` means that of the gateway.
    pub proxy_namespace: Option<String>,
    /// Labels of the proxy's pods.
    pub proxy_labels: BTreeMap<String, String>,
    /// TCP ports that these listen on; at least one.
    pub ports: BTreeSet<u16>,
    /// Whether pods may reach other pods.
    pub in_cluster: InCluster,
    /// Whether pods may ask the pods that resolve names.
    pub allow_dns: bool,
    /// Namespace of these.
    pub dns_namespace: String,
    /// Their labels.
    pub dns_labels: BTreeMap<String, String>,
    /// Their port.
    pub dns_port: u16,
}

impl Identified {
    /// The word of the document for it.
    pub fn kind(&self) -> InjectedIdentity {
        match self {
            Self::Relay(..) => InjectedIdentity::Relay,
            Self::Token(_) => InjectedIdentity::Token,
            Self::None => InjectedIdentity::None,
        }
    }

    /// The token, where there is one.
    pub fn token(&self) -> Option<&InjectedToken> {
        match self {
            Self::Relay(_, token) | Self::Token(token) => Some(token),
            Self::None => None,
        }
    }
}
