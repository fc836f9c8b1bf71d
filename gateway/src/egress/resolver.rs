//! Names to addresses, once for each connection.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use portcullis_config::model::Egress;

use super::TestAnswers;
use crate::dns::{Dns, resolver};

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    /// The name does not exist, or has no address.
    #[error("it has no address")]
    NotFound,
    /// No server answered in time.
    #[error("no server answered in time")]
    Timeout,
    /// The servers failed.
    #[error("the servers failed")]
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
            Some(resolver(&Dns {
                servers: &settings.servers,
                timeout: settings.timeout,
                cache_entries: settings.cache_entries,
                families: LookupIpStrategy::Ipv4AndIpv6,
            })?)
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
