//! The egress proxy.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{EgressWorkloads, ListenerTls};
use crate::access::AddressSet;
pub use crate::document::{EgressIdentityLevel, EgressMode, EgressProtocol, EncryptedClientHello};
pub use crate::egress::{
    Delegate, EgressPolicies, EgressPolicy, EgressQuota, EgressRule, EgressRules, Target,
    TokenSettings, UpstreamProxy,
};

/// The egress proxy.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    /// Where workloads reach it.
    pub listeners: Vec<EgressListener>,
    /// DNS servers; empty means the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// Time for a look-up.
    pub dns_timeout: Duration,
    /// Names remembered at once.
    pub dns_cache_entries: u32,
    /// Ranges of the cluster; they count as private.
    pub cluster_ranges: AddressSet,
    /// How clients are known by more than their addresses, where they are.
    pub identity: Option<EgressIdentity>,
    /// Limits on connections.
    pub limits: EgressLimits,
    /// How TLS is looked into, where it is.
    pub inspection: Option<EgressInspection>,
    /// How requests in clear are sent over TLS, where entries ask for that.
    pub tls_origination: EgressTlsOrigination,
    /// Proxies that destinations are reached through, by whichever takes them first.
    pub upstream_proxies: Vec<UpstreamProxy>,
    /// How people ask for access, for those who are refused; one line.
    pub contact: Option<Arc<str>>,
    /// What namespaces with a label get.
    pub workloads: Option<Arc<EgressWorkloads>>,
    /// Policies of the cluster: what they deny no other allows.
    pub cluster_policies: EgressPolicies,
    /// Policies of workloads.
    pub policies: EgressPolicies,
}

/// A place where workloads reach the egress proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressListener {
    /// Unique name.
    pub name: String,
    /// Address and port.
    pub address: SocketAddr,
    /// What workloads speak.
    pub protocol: EgressProtocol,
    /// TLS under it; `None` means in clear.
    pub tls: Option<ListenerTls>,
}

/// How clients of the egress proxy are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressIdentity {
    /// What a client has to show.
    pub level: EgressIdentityLevel,
    /// How tokens are verified, where they are.
    pub tokens: Option<EgressTokens>,
    /// How long what is known of pods counts without news; `None` where pods are not known.
    pub pods_max_stale: Option<Duration>,
}

/// How tokens of ServiceAccounts are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressTokens {
    /// Who says whether one is good.
    pub verified_by: TokensVerifiedBy,
    /// What they must say.
    pub settings: TokenSettings,
}

/// How requests in clear are sent over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressTlsOrigination {
    /// File with authorities of destinations that are trusted beside those of the system.
    pub trust: Option<PathBuf>,
}

/// How TLS is looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressInspection {
    /// File with the certificate of the authority that signs those of hosts.
    pub certificate: PathBuf,
    /// File with its key.
    pub key: PathBuf,
    /// File with authorities of destinations that are trusted beside those of the system.
    pub trust: Option<PathBuf>,
    /// Certificates of hosts that are kept at once.
    pub max_certificates: u32,
    /// Life of a certificate of a host.
    pub certificate_lifetime: Duration,
    /// Requests of one HTTP/2 connection at once.
    pub max_streams: u32,
}

/// Who says whether a token is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokensVerifiedBy {
    /// The public keys in this file, without asking anybody.
    Keys(PathBuf),
    /// The API server.
    Review(TokenReview),
}

/// How the API server is asked about tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenReview {
    /// Time until a token has its answer.
    pub timeout: Duration,
    /// Questions at once.
    pub max_concurrent: u32,
    /// How long a good token is not asked about again.
    pub cache_time: Duration,
    /// The same for one that is not good.
    pub refused_cache_time: Duration,
    /// Tokens of either kind that are remembered at once.
    pub cache_entries: u32,
}

impl EgressTokens {
    /// The file with the keys, where there is one.
    pub fn keys(&self) -> Option<&PathBuf> {
        match &self.verified_by {
            TokensVerifiedBy::Keys(file) => Some(file),
            TokensVerifiedBy::Review(_) => None,
        }
    }

    /// How the API server is asked, where it is.
    pub fn review(&self) -> Option<&TokenReview> {
        match &self.verified_by {
            TokensVerifiedBy::Keys(_) => None,
            TokensVerifiedBy::Review(review) => Some(review),
        }
    }
}

/// Limits of the egress proxy. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressLimits {
    /// Connections of clients at once.
    pub max_connections: u32,
    /// Tunnels of one HTTP/2 connection at once.
    pub max_streams: u32,
    /// Time for the TLS handshake of a listener with TLS.
    pub handshake_timeout: Duration,
    /// Time for a whole request head.
    pub head_timeout: Duration,
    /// Bytes of a request head.
    pub max_head_size: u64,
    /// Time to connect to one address.
    pub connect_timeout: Duration,
    /// Time for the ClientHello in a tunnel.
    pub client_hello_timeout: Duration,
    /// Bytes of the ClientHello in a tunnel.
    pub max_client_hello_size: u64,
    /// Time in which nothing passes.
    pub idle_timeout: Duration,
    /// Longest life of a tunnel.
    pub max_lifetime: Duration,
    /// Counts of quotas at once.
    pub max_quota_counts: u32,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_streams: 100,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(15),
            max_head_size: 32 << 10,
            connect_timeout: Duration::from_secs(5),
            client_hello_timeout: Duration::from_secs(10),
            max_client_hello_size: 32 << 10,
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(86_400),
            max_quota_counts: 100_000,
        }
    }
}
