//! A backend as a snapshot has it, and the choice of an endpoint.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use portcullis_config::model;

use super::{Balancer, EndpointState, Gate, RetryBudget, Schedule, UpstreamTls};
use crate::telemetry::BackendMetrics;

/// What outlives a snapshot of a backend.
#[derive(Debug, Default)]
pub struct BackendState {
    balancer: Balancer,
    retries: RetryBudget,
    gate: Arc<Gate>,
}

impl BackendState {
    /// Brings it in line with the settings that serve now.
    pub(super) fn adopt(&self, backend: &model::Backend) {
        self.gate.resize(places(backend));
    }
}

/// Requests that a backend is given at once.
fn places(backend: &model::Backend) -> usize {
    let limits = &backend.limits;
    // A request over HTTP/1 has a connection of its own.
    let connections = match backend.protocol {
        model::BackendProtocol::Http1 => limits.max_connections,
        model::BackendProtocol::Http2 => 0,
    };
    [limits.max_requests, connections]
        .into_iter()
        .filter(|&limit| limit > 0)
        .min()
        .map_or(usize::MAX, |limit| limit as usize)
}

/// A backend with what is known of it.
#[derive(Debug)]
pub struct CompiledBackend {
    /// What the backend is.
    pub backend: Arc<model::Backend>,
    /// TLS towards the endpoints.
    pub tls: Option<UpstreamTls>,
    /// Separates connection pools that must not be shared.
    pub pool_key: u64,
    /// Metrics with the backend's label.
    pub metrics: BackendMetrics,
    pub(super) state: Arc<BackendState>,
    pub(super) endpoints: ArcSwap<EndpointSet>,
}

/// The endpoints of a backend at one time.
#[derive(Debug, Default)]
pub struct EndpointSet {
    members: Vec<Member>,
    schedule: Schedule,
}

/// An endpoint of a set.
#[derive(Debug)]
pub struct Member {
    /// What is known of it.
    pub state: Arc<EndpointState>,
    /// Its share of the requests.
    pub weight: u32,
}

impl EndpointSet {
    /// Makes a set.
    pub fn new(members: Vec<Member>) -> Self {
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        Self {
            schedule: Schedule::new(&weights),
            members,
        }
    }

    /// Its endpoints.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

impl CompiledBackend {
    /// The endpoints that there are now.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        self.endpoints.load_full()
    }

    /// Chooses an endpoint; `None` when none takes requests.
    ///
    /// One that is down, or was `tried` for this request, is taken only where
    /// there is no other: an endpoint that may fail is better than none.
    pub fn choose(&self, tried: &[SocketAddr]) -> Option<Arc<EndpointState>> {
        let set = self.endpoints.load();
        let fresh = |member: &Member| !tried.contains(&member.state.address);
        let chosen = self
            .turn(&set, tried, |member| fresh(member) && self.is_up(member))
            .or_else(|| self.turn(&set, tried, fresh))
            .or_else(|| self.turn(&set, tried, |member| self.is_up(member)))
            .or_else(|| set.schedule.pick(&self.state.balancer))?;
        Some(Arc::clone(&set.members[chosen].state))
    }

    /// What lets its requests in, no more at once than may be.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.state.gate
    }

    /// Whether an endpoint takes requests that was not tried.
    pub fn has_other(&self, tried: &[SocketAddr]) -> bool {
        self.endpoints
            .load()
            .members
            .iter()
            .any(|member| member.weight > 0 && !tried.contains(&member.state.address))
    }

    /// Whether a request may be tried again, as far as the backend is concerned; it
    /// counts as one that is.
    pub fn may_retry(&self) -> bool {
        let set = self.endpoints.load();
        let attempts = set.members.iter().map(|member| member.state.attempts());
        let budget = &self.backend.retry_budget;
        self.state
            .retries
            .take(budget, attempts.sum(), Instant::now())
    }

    /// Notes a failure of an endpoint; tells for how long it is left out now.
    pub fn failed(&self, endpoint: &EndpointState) -> Option<Duration> {
        let settings = &self.backend.ejection;
        endpoint.failed(settings, || {
            let set = self.endpoints.load();
            let ejected = set.members.iter().filter(|m| m.state.is_ejected()).count();
            (ejected + 1) * 100 <= set.members.len() * settings.max_ejected as usize
        })
    }

    /// Whether an endpoint takes requests. What a health check said of it counts
    /// only where there is one.
    fn is_up(&self, member: &Member) -> bool {
        match self.backend.health {
            Some(_) => member.state.is_up(),
            None => !member.state.is_ejected(),
        }
    }

    /// The next endpoint in turn that will do, by its position.
    fn turn(
        &self,
        set: &EndpointSet,
        tried: &[SocketAddr],
        will_do: impl Fn(&Member) -> bool,
    ) -> Option<usize> {
        // A turn is a step on a counter that all share: none is taken in vain.
        if !set.members.iter().any(&will_do) {
            return None;
        }
        let will_do = |index: usize| will_do(&set.members[index]);
        let balancer = &self.state.balancer;
        let by_load = self.backend.balance == model::Balance::LeastRequests;
        if tried.is_empty() && !by_load {
            return set.schedule.pick_where(balancer, will_do);
        }
        let (first, other) = match tried {
            [] => set.schedule.pick_two(balancer, will_do)?,
            _ => set.schedule.peek_two(balancer, will_do)?,
        };
        if !by_load {
            return Some(first);
        }
        let load = |index: usize, weight_of: usize| {
            u64::from(set.members[index].state.in_flight())
                * u64::from(set.members[weight_of].weight)
        };
        Some(match other {
            // Requests for each unit of weight, compared crosswise.
            Some(other) if load(other, first) < load(first, other) => other,
            _ => first,
        })
    }
}
