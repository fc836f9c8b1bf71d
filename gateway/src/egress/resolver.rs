//! Names to addresses, once for each connection.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use portcullis_config::model::Egress;

use super::TestAnswers;

/// Attempts at the DNS servers within the time of one look-up.
const ATTEMPTS: usize = 2;

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResolveError {
    /// The name does not exist, or has no address.
    NotFound,
    /// No server answered in time.
    Timeout,
    /// The servers failed.
    Failed,
}

/// Resolves names with a bounded cache.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    settings: Settings,
    dns: Option<TokioResolver>,
    test: TestAnswers,
}

/// What a resolver was made from; another one is made when these change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    cache_entries: u32,
}

impl Settings {
    fn of(egress: &Egress) -> Self {
        Self {
            servers: egress.dns_servers.clone(),
            timeout: egress.dns_timeout,
            cache_entries: egress.dns_cache_entries,
        }
    }
}

impl Resolver {
    /// Makes a resolver.
    ///
    /// # Errors
    /// When the system's DNS configuration cannot be read.
    pub(super) fn new(egress: &Egress, test: TestAnswers) -> Result<Self, String> {
        let settings = Settings::of(egress);
        let dns = if test.is_scripted() {
            None
        } else {
            Some(dns(&settings)?)
        };
        Ok(Self {
            settings,
            dns,
            test,
        })
    }

    /// Whether it can go on under these settings.
    pub(super) fn serves(&self, egress: &Egress) -> bool {
        self.settings == Settings::of(egress)
    }

    /// Looks a name up; all addresses, IPv6 and IPv4.
    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let Some(dns) = &self.dns else {
            let answer = self.test.resolve(name);
            return if answer.is_empty() {
                Err(ResolveError::NotFound)
            } else {
                Ok(answer)
            };
        };
        // The final dot keeps search domains out of it: one name, one meaning.
        let lookup = dns.lookup_ip(format!("{name}."));
        match tokio::time::timeout(self.settings.timeout, lookup).await {
            Err(_) => Err(ResolveError::Timeout),
            Ok(Err(error)) if error.is_no_records_found() => Err(ResolveError::NotFound),
            Ok(Err(error)) => {
                tracing::debug!(%error, "look-up failed");
                Err(ResolveError::Failed)
            }
            Ok(Ok(answer)) => {
                let addresses: Vec<IpAddr> = answer
                    .iter()
                    .map(|address| address.to_canonical())
                    .collect();
                if addresses.is_empty() {
                    Err(ResolveError::NotFound)
                } else {
                    Ok(addresses)
                }
            }
        }
    }
}

fn dns(settings: &Settings) -> Result<TokioResolver, String> {
    let mut builder = if settings.servers.is_empty() {
        TokioResolver::builder_tokio()
            .map_err(|error| format!("the system's DNS configuration: {error}"))?
    } else {
        let servers = settings.servers.iter().map(|server| {
            let connections =
                [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = settings.timeout / u32::try_from(ATTEMPTS).unwrap_or(1);
    options.attempts = ATTEMPTS;
    options.cache_size = u64::from(settings.cache_entries);
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder
        .build()
        .map_err(|error| format!("the DNS resolver: {error}"))
}
