//! A backend as a snapshot has it, and the choice of an endpoint.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use portcullis_config::model;

use super::{
    EndpointState, Gate, Schedule, UpstreamTls, affinity::Namer, backend_state::BackendState,
    rendezvous,
};
use crate::telemetry::{BackendMetrics, Metrics};

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
    pub(super) namer: Option<Namer>,
    /// Whether an endpoint is named, and not addressed.
    pub(super) has_names: bool,
    /// Tells it from the same backend in other snapshots.
    pub(super) number: u64,
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
    /// Hash of its address.
    hash: u64,
    /// Its name in cookies, where its backend has affinity.
    name: Option<String>,
}

impl Member {
    pub(super) fn new(state: Arc<EndpointState>, weight: u32, namer: Option<&Namer>) -> Self {
        Self {
            weight,
            hash: rendezvous::hash(state.address.to_string().as_bytes()),
            name: namer.map(|namer| namer.name(state.address)),
            state,
        }
    }
}

/// An endpoint that was chosen.
#[derive(Debug)]
pub struct Chosen {
    /// The endpoint.
    pub endpoint: Arc<EndpointState>,
    /// Its name for the client's cookie, where the client is to learn it.
    pub name: Option<String>,
}

impl Chosen {
    fn of(member: &Member, known: bool) -> Self {
        Self {
            endpoint: Arc::clone(&member.state),
            name: member.name.clone().filter(|_| !known),
        }
    }
}

/// What ties a request to an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Preference<'a> {
    /// Hash of its key, where its backend goes by one.
    pub key: Option<u64>,
    /// Names of endpoints that its client brought.
    pub names: &'a [&'a [u8]],
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

    fn is_of_the_same_addresses(&self, other: &Self) -> bool {
        let addresses = |set: &Self| -> Vec<SocketAddr> {
            let members = set.members.iter();
            members.map(|member| member.state.address).collect()
        };
        addresses(self) == addresses(other)
    }

    /// The endpoint that has one of these names, and takes requests.
    fn named(&self, names: &[&[u8]]) -> Option<usize> {
        names.iter().find_map(|wanted| {
            self.members.iter().position(|member| {
                let name = member.name.as_deref().map(str::as_bytes);
                member.weight > 0 && name == Some(wanted)
            })
        })
    }

    /// The endpoint of a key among those that will do.
    fn by_key(&self, key: u64, will_do: &dyn Fn(&Member) -> bool) -> Option<usize> {
        let members = self.members.iter().enumerate();
        let among = members.filter(|(_, member)| will_do(member));
        let scored = among.map(|(index, member)| (index, member.hash, member.weight));
        rendezvous::choose(key, scored)
    }
}

impl CompiledBackend {
    /// Whether what it is hangs on files, which say something else later.
    pub(super) fn reads_files(&self) -> bool {
        self.tls.is_some() || self.namer.is_some()
    }

    /// Brings what outlives this snapshot in line with it, now that it serves; where it is
    /// shared with the one before, that has been done.
    pub(super) fn adopt(&self, metrics: &Metrics) {
        if self.state.serves(self.number) {
            let set = self.endpoints.load();
            // A configuration that was refused may have brought others.
            if !self.state.has_as_many(&set) {
                self.state
                    .keep(self.number, &self.backend.name, &set, metrics);
            }
            return;
        }
        self.state.gate.resize(places(&self.backend));
        self.state.keep_names(&self.backend);
        self.state.serve(self.number);
        // Names may have been answered since this was compiled.
        let set = Arc::new(self.state.endpoints(&self.backend, self.namer.as_ref()));
        self.endpoints.store(Arc::clone(&set));
        self.state
            .keep(self.number, &self.backend.name, &set, metrics);
    }

    /// Whether an endpoint is named, and not addressed.
    pub fn has_names(&self) -> bool {
        self.has_names
    }

    /// Takes an answer for a name of an endpoint; comes back with the addresses that
    /// went with it, and `None` where it is the same as before.
    pub fn answer(
        &self,
        host: &str,
        addresses: Vec<IpAddr>,
        metrics: &Metrics,
    ) -> Option<Vec<SocketAddr>> {
        self.state.answer(host, addresses);
        let set = Arc::new(self.state.endpoints(&self.backend, self.namer.as_ref()));
        // Held against what is in force here: another snapshot of the backend may have
        // had the answer first.
        if set.is_of_the_same_addresses(&self.endpoints.load()) {
            return None;
        }
        self.endpoints.store(Arc::clone(&set));
        let gone = self
            .state
            .keep(self.number, &self.backend.name, &set, metrics);
        self.state.answered.notify_waiters();
        Some(gone)
    }

    /// Whether there is no endpoint because no name was answered yet.
    pub fn is_awaited(&self) -> bool {
        self.has_names && self.endpoints.load().members.is_empty()
    }

    /// Waits for the first answer.
    pub async fn answered(&self) {
        let answered = self.state.answered.notified();
        tokio::pin!(answered);
        answered.as_mut().enable();
        if self.is_awaited() {
            answered.await;
        }
    }

    /// The endpoints that there are now.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        self.endpoints.load_full()
    }

    /// Chooses an endpoint; `None` when none takes requests.
    ///
    /// One that is down, or was `tried` for this request, is taken only where
    /// there is no other: an endpoint that may fail is better than none.
    pub fn choose(&self, tried: &[SocketAddr], preference: Preference<'_>) -> Option<Chosen> {
        let set = self.endpoints.load();
        let fresh = |member: &Member| !tried.contains(&member.state.address);
        if let Some(index) = set.named(preference.names)
            && fresh(&set.members[index])
            && self.is_up(&set.members[index])
        {
            return Some(Chosen::of(&set.members[index], true));
        }
        let next = |will_do: &dyn Fn(&Member) -> bool| match preference.key {
            None => self.turn(&set, tried, will_do),
            Some(key) => set.by_key(key, will_do),
        };
        let slow_start = self.backend.slow_start;
        let ramped = match preference.key {
            // By chance, so that its share of the turns is the part that it is to have.
            None if !slow_start.is_zero() => next(&|member| {
                fresh(member)
                    && self.is_up(member)
                    && member.state.part(slow_start) > fastrand::f64()
            }),
            _ => None,
        };
        let chosen = ramped
            .or_else(|| next(&|member| fresh(member) && self.is_up(member)))
            .or_else(|| next(&fresh))
            .or_else(|| next(&|member| self.is_up(member)))
            .or_else(|| next(&|_| true))?;
        Some(Chosen::of(&set.members[chosen], false))
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

    /// Whether an endpoint is there besides one, that was not tried.
    pub fn has_another(&self, tried: &[SocketAddr], one: SocketAddr) -> bool {
        self.endpoints.load().members.iter().any(|member| {
            let address = member.state.address;
            member.weight > 0 && address != one && !tried.contains(&address)
        })
    }

    /// Whether an endpoint that was not tried is up.
    pub fn has_other_up(&self, tried: &[SocketAddr]) -> bool {
        self.endpoints.load().members.iter().any(|member| {
            member.weight > 0 && !tried.contains(&member.state.address) && self.is_up(member)
        })
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

    fn is_up(&self, member: &Member) -> bool {
        self.takes_requests(&member.state)
    }

    /// Whether an endpoint takes requests. What a health check said of it counts
    /// only where there is one.
    pub fn takes_requests(&self, endpoint: &EndpointState) -> bool {
        match self.backend.health {
            Some(_) => endpoint.is_up(),
            None => !endpoint.is_ejected(),
        }
    }

    /// The next endpoint in turn that will do, by its position.
    fn turn(
        &self,
        set: &EndpointSet,
        tried: &[SocketAddr],
        will_do: &dyn Fn(&Member) -> bool,
    ) -> Option<usize> {
        // A turn is a step on a counter that all share: none is taken in vain.
        if !set.members.iter().any(will_do) {
            return None;
        }
        let will_do = |index: usize| will_do(&set.members[index]);
        let balancer = &self.state.balancer;
        let by_load = matches!(
            self.backend.balance,
            model::Balance::LeastRequests | model::Balance::PeakEwma
        );
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
        Some(match other {
            Some(other) if self.is_less_loaded(&set.members[other], &set.members[first]) => other,
            _ => first,
        })
    }

    /// Whether one endpoint has less to do for its weight than another.
    fn is_less_loaded(&self, one: &Member, other: &Member) -> bool {
        // Compared crosswise: for each unit of weight.
        let (one_weight, other_weight) = (f64::from(one.weight), f64::from(other.weight));
        let (one, other) = (&one.state, &other.state);
        let in_flight = |state: &EndpointState| f64::from(state.in_flight());
        if self.backend.balance == model::Balance::LeastRequests {
            return in_flight(one) * other_weight < in_flight(other) * one_weight;
        }
        // One that has not answered yet counts as quick as the other, or it would get
        // everything until it has.
        let (one_takes, other_takes) = match (one.latency(), other.latency()) {
            (Some(one), Some(other)) => (one, other),
            (Some(known), None) | (None, Some(known)) => (known, known),
            (None, None) => (1.0, 1.0),
        };
        let cost = |takes: f64, state: &EndpointState| takes * (in_flight(state) + 1.0);
        cost(one_takes, one) * other_weight < cost(other_takes, other) * one_weight
    }
}
