//! What is known of a backend while the gateway runs; it outlives a snapshot.

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use portcullis_config::{
    access::AddressSet,
    egress::AddressClass,
    model::{self, EndpointAddress},
};
use tokio::sync::Notify;

use super::{Balancer, EndpointSet, EndpointState, Gate, Member, RetryBudget, affinity::Namer};
use crate::telemetry::Metrics;

/// The state of one backend.
#[derive(Debug, Default)]
pub struct BackendState {
    pub(super) balancer: Balancer,
    pub(super) retries: RetryBudget,
    pub(super) gate: Arc<Gate>,
    endpoints: Mutex<BTreeMap<SocketAddr, Arc<EndpointState>>>,
    /// The last good answer for each name.
    answers: Mutex<BTreeMap<String, Vec<IpAddr>>>,
    /// Which snapshot of the backend serves, by its number.
    serving: AtomicU64,
    /// Told when there is another answer.
    pub(super) answered: Notify,
}

impl BackendState {
    /// The endpoints of a backend, as far as names are known.
    pub(super) fn endpoints(&self, backend: &model::Backend, namer: Option<&Namer>) -> EndpointSet {
        let answers = lock(&self.answers);
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        for endpoint in &backend.endpoints {
            let addresses = match &endpoint.address {
                EndpointAddress::Socket(address) => vec![*address],
                EndpointAddress::Name { host, port } => answers
                    .get(host)
                    .into_iter()
                    .flatten()
                    .filter(|address| !is_refused(backend, **address))
                    .map(|address| SocketAddr::new(*address, *port))
                    .collect(),
            };
            for address in addresses {
                // Two names may have one address; it counts once, as it stands first.
                if seen.insert(address) {
                    members.push(Member::new(self.endpoint(address), endpoint.weight, namer));
                }
            }
        }
        EndpointSet::new(members)
    }

    /// Takes an answer for a name.
    pub(super) fn answer(&self, host: &str, addresses: Vec<IpAddr>) {
        lock(&self.answers).insert(host.to_owned(), addresses);
    }

    /// Notes which snapshot of the backend serves from now on.
    pub(super) fn serve(&self, number: u64) {
        self.serving.store(number, Ordering::SeqCst);
    }

    /// Whether this snapshot of the backend serves already.
    pub(super) fn serves(&self, number: u64) -> bool {
        self.serving.load(Ordering::SeqCst) == number
    }

    /// Whether it knows as many endpoints as a set has.
    pub(super) fn has_as_many(&self, set: &EndpointSet) -> bool {
        lock(&self.endpoints).len() == set.members().len()
    }

    /// Forgets endpoints that are not of this set, and tells of the others; comes back
    /// with those that went. A set of a snapshot that does not serve changes nothing.
    pub(super) fn keep(
        &self,
        number: u64,
        name: &str,
        set: &EndpointSet,
        metrics: &Metrics,
    ) -> Vec<SocketAddr> {
        let mut gone = Vec::new();
        let mut endpoints = lock(&self.endpoints);
        if !self.serves(number) {
            return gone;
        }
        let mut kept = HashSet::new();
        for member in set.members() {
            let state = &member.state;
            state.join();
            kept.insert(state.address);
            endpoints.insert(state.address, Arc::clone(state));
        }
        endpoints.retain(|address, state| {
            if kept.contains(address) {
                state.announce(|| metrics.endpoint_up(name, &address.to_string()));
                return true;
            }
            state.leave();
            metrics.forget_endpoint(name, &address.to_string());
            gone.push(*address);
            false
        });
        gone
    }

    /// Forgets the answers for names that the backend does not have any more.
    pub(super) fn keep_names(&self, backend: &model::Backend) {
        lock(&self.answers).retain(|known, _| {
            backend.endpoints.iter().any(|endpoint| {
                matches!(&endpoint.address, EndpointAddress::Name { host, .. } if host == known)
            })
        });
    }

    fn endpoint(&self, address: SocketAddr) -> Arc<EndpointState> {
        let mut endpoints = lock(&self.endpoints);
        let state = endpoints
            .entry(address)
            .or_insert_with(|| Arc::new(EndpointState::new(address)));
        Arc::clone(state)
    }
}

/// Whether an answer for a name is an address that no name of the backend may have.
pub(crate) fn is_refused(backend: &model::Backend, address: IpAddr) -> bool {
    let class = || AddressClass::of(address, &AddressSet::default());
    !backend.local_addresses && class() == AddressClass::AlwaysBlocked
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
