//! Endpoints that are named: looked up, and again when the answer has run out.
//!
//! A look-up that fails, and a name that has gone, change nothing: the last good
//! answer goes on, since an endpoint that may not answer is better than none.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use hickory_resolver::{
    TokioResolver,
    lookup::Lookup,
    net::{DnsError, NetError},
    proto::{op::ResponseCode, rr::RecordType},
};
use portcullis_config::model::{EndpointAddress, Resolver};
use tokio::task::AbortHandle;

use super::Connector;
use crate::{
    snapshot::{CompiledBackend, Snapshot, is_refused},
    telemetry::Metrics,
};

/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 1024;

/// Wait after a first failure; doubled each time.
const RETRY: Duration = Duration::from_secs(1);

/// Longest wait after failures.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// The names that are followed, one task for each backend that has some.
pub(crate) struct Names {
    connector: Arc<Connector>,
    metrics: Arc<Metrics>,
    running: Mutex<Vec<AbortHandle>>,
}

impl Names {
    /// Follows nothing.
    pub(crate) fn new(connector: Arc<Connector>, metrics: Arc<Metrics>) -> Self {
        Self {
            connector,
            metrics,
            running: Mutex::default(),
        }
    }

    /// Follows the names of a snapshot from now on; to be called on a runtime.
    pub(crate) fn adopt(&self, snapshot: &Snapshot) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for task in running.drain(..) {
            task.abort();
        }
        let Some(dns) = &snapshot.dns else {
            return;
        };
        for backend in snapshot.backends() {
            let hosts: BTreeSet<String> = backend
                .backend
                .endpoints
                .iter()
                .filter_map(|endpoint| match &endpoint.address {
                    EndpointAddress::Name { host, .. } => Some(host.clone()),
                    EndpointAddress::Socket(_) => None,
                })
                .collect();
            if hosts.is_empty() {
                continue;
            }
            let follow = hosts.into_iter().map(|host| {
                let name = Name {
                    host,
                    backend: Arc::clone(backend),
                    connector: Arc::clone(&self.connector),
                    metrics: Arc::clone(&self.metrics),
                };
                name.follow(dns.clone(), snapshot.model.resolver.clone())
            });
            running.push(tokio::spawn(join_all(follow.collect::<Vec<_>>())).abort_handle());
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for task in running.iter() {
            task.abort();
        }
    }
}

struct Name {
    host: String,
    backend: Arc<CompiledBackend>,
    connector: Arc<Connector>,
    metrics: Arc<Metrics>,
}

impl Name {
    async fn follow(self, dns: TokioResolver, settings: Resolver) {
        let mut failures = 0;
        loop {
            let found = look_up(&dns, &self.host, settings.timeout).await;
            let wait = match found.and_then(|found| self.judged(found)) {
                Ok((addresses, until)) => {
                    failures = 0;
                    self.take(addresses);
                    let ttl = until.saturating_duration_since(Instant::now());
                    ttl.clamp(settings.min_ttl, settings.max_ttl)
                }
                Err(reason) => {
                    if failures == 0 {
                        tracing::warn!(
                            backend = %self.backend.backend.name,
                            name = %self.host,
                            %reason,
                            "endpoint name not looked up; its last addresses stay"
                        );
                    }
                    failures += 1;
                    (RETRY * (1 << (failures - 1u32).min(5))).min(MAX_RETRY)
                }
            };
            self.backend.metrics.looked_up(failures == 0);
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes out the addresses that no name of the backend may have.
    ///
    /// # Errors
    /// That no other is left.
    fn judged(
        &self,
        (mut addresses, until): (Vec<IpAddr>, Instant),
    ) -> Result<(Vec<IpAddr>, Instant), String> {
        let refused = |address: &IpAddr| is_refused(&self.backend.backend, *address);
        let Some(first) = addresses.iter().copied().find(refused) else {
            return Ok((addresses, until));
        };
        addresses.retain(|address| !refused(address));
        let reason = format!("{first} is an address that no name of this backend may have");
        match addresses.is_empty() {
            true => Err(reason),
            false => {
                let backend = &self.backend.backend.name;
                tracing::warn!(%backend, name = %self.host, %reason, "address left out");
                Ok((addresses, until))
            }
        }
    }

    fn take(&self, mut addresses: Vec<IpAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        let found = addresses.len();
        addresses.truncate(MAX_ADDRESSES);
        let Some(gone) = self.backend.answer(&self.host, addresses, &self.metrics) else {
            return;
        };
        self.connector.close(&self.backend, &gone);
        tracing::info!(
            backend = %self.backend.backend.name,
            name = %self.host,
            addresses = found.min(MAX_ADDRESSES),
            gone = gone.len(),
            "endpoint name has other addresses"
        );
        if found > MAX_ADDRESSES {
            tracing::warn!(name = %self.host, found, used = MAX_ADDRESSES, "endpoint name has too many addresses");
        }
    }
}

/// The addresses of a name, and until when they are good.
async fn look_up(
    dns: &TokioResolver,
    host: &str,
    timeout: Duration,
) -> Result<(Vec<IpAddr>, Instant), String> {
    let found = match tokio::time::timeout(timeout, either(dns, host)).await {
        Err(_) => return Err("no answer in time".into()),
        Ok(found) => found.map_err(|error| error.to_string())?,
    };
    let answers = found.answers().iter();
    let addresses: Vec<IpAddr> = answers
        .filter_map(|record| Some(record.data.ip_addr()?.to_canonical()))
        .collect();
    match addresses.is_empty() {
        true => Err("it has no address".into()),
        false => Ok((addresses, found.valid_until())),
    }
}

/// IPv4 addresses, and IPv6 only where the servers say that there are none: after a
/// failure, as the resolver's own strategy has it, a backend would change its family.
async fn either(dns: &TokioResolver, host: &str) -> Result<Lookup, NetError> {
    match dns.lookup(host, RecordType::A).await {
        Err(error) if has_none(&error) => dns.lookup(host, RecordType::AAAA).await,
        found => found,
    }
}

fn has_none(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return false;
    };
    matches!(
        none.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}
