//! What the gateway does right now, as one immutable value.
//!
//! ```text
//! Model + rule files + CA files --compile--> Snapshot --ArcSwap--> pinned by each request
//!                                   ^
//!              Live: limiters, balancers, rule sets, shared by stable id
//! ```
//!
//! A [`Snapshot`] is built whole and never changes. What must outlive it (rate
//! limit counters, balancer positions, compiled rule sets) lives in [`Live`]
//! and is shared into each new snapshot.

mod authentication;
mod balance;
mod compile;
mod endpoint;
mod limiter;
mod live;
mod reads;
mod rule_sets;

pub use balance::{Balancer, Schedule};
pub use compile::compile;
pub use endpoint::{EndpointState, InFlight};
pub use limiter::{LimitDecision, LimitSubject, Limiter};
pub use live::Live;
pub use reads::{ContentHash, Reads};

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use http::HeaderName;
use portcullis_config::{access::AddressSet, model, route::RouteTable};
use portcullis_waf::{EngineMode, RuleSet};
use prometheus::IntCounter;
use rustls_pki_types::CertificateDer;

use crate::{
    identity::Authenticator,
    telemetry::{BackendMetrics, RuleMetrics},
};

/// Everything a request is answered from.
#[derive(Debug)]
pub struct Snapshot {
    /// Number of this snapshot, from 1.
    pub version: u64,
    /// SHA-256 of the configuration and of the files it names, as they were read, in hex.
    pub hash: String,
    /// When it was built.
    pub built: SystemTime,
    /// The effective configuration as YAML.
    pub yaml: String,
    /// The model it was compiled from.
    pub model: model::Model,
    /// The egress section, shared with open tunnels.
    pub egress: Option<Arc<model::Egress>>,
    /// Which rule a request takes.
    pub routes: RouteTable,
    /// The compiled rules by id.
    rules: HashMap<String, Arc<CompiledRule>>,
    backends: Vec<Arc<CompiledBackend>>,
    authenticators: Vec<Arc<Authenticator>>,
    /// The rule set of every profile. Those that no rule uses are held too, or
    /// each reload would compile them again.
    #[expect(dead_code, reason = "held, not read")]
    rule_sets: Vec<Arc<RuleSet>>,
}

impl Snapshot {
    /// Finds what was compiled for a rule of this snapshot's route table.
    pub fn rule(&self, id: &str) -> Option<&Arc<CompiledRule>> {
        self.rules.get(id)
    }

    /// Every backend.
    pub fn backends(&self) -> &[Arc<CompiledBackend>] {
        &self.backends
    }

    /// Every authentication.
    pub(crate) fn authenticators(&self) -> &[Arc<Authenticator>] {
        &self.authenticators
    }

    /// Every rate limiter that a rule of this snapshot uses.
    pub fn limiters(&self) -> Vec<Arc<Limiter>> {
        let mut limiters: Vec<Arc<Limiter>> = self
            .rules
            .values()
            .flat_map(|rule| &rule.limiters)
            .map(|limiter| Arc::clone(&limiter.limiter))
            .collect();
        limiters.sort_by(|a, b| a.limit().name.cmp(&b.limit().name));
        limiters.dedup_by(|a, b| Arc::ptr_eq(a, b));
        limiters
    }

    /// Whose forwarding headers are believed.
    pub fn trusted_proxies(&self) -> &AddressSet {
        &self.model.trusted_proxies
    }
}

/// A rule with everything it needs at run time.
#[derive(Debug)]
pub struct CompiledRule {
    /// What the rule says.
    pub rule: Arc<model::Rule>,
    /// Backends by weight; `None` for a rule that redirects.
    pub targets: Option<Targets>,
    /// Who a client must be, in order; empty where anybody may come.
    pub authentications: Vec<Arc<Authenticator>>,
    /// Headers that are never taken from a client; sorted.
    pub identity_headers: Vec<HeaderName>,
    /// Rate limits, with their counters.
    pub limiters: Vec<RuleLimiter>,
    /// The WAF, where the rule has one.
    pub waf: Option<CompiledWaf>,
    /// Metrics with the rule's labels.
    pub metrics: Arc<RuleMetrics>,
}

/// A rate limit of a rule.
#[derive(Debug)]
pub struct RuleLimiter {
    /// Its counters, shared with every rule under the same limit.
    pub limiter: Arc<Limiter>,
    /// Counts what it lets pass.
    pub allowed: IntCounter,
}

/// The backends of a rule.
#[derive(Debug)]
pub struct Targets {
    backends: Vec<Arc<CompiledBackend>>,
    balancer: Arc<Balancer>,
    schedule: Schedule,
}

impl Targets {
    /// Chooses the next backend; `None` when none takes requests.
    pub fn next(&self) -> Option<&Arc<CompiledBackend>> {
        self.schedule
            .pick(&self.balancer)
            .map(|index| &self.backends[index])
    }
}

/// A backend with its position in the round.
#[derive(Debug)]
pub struct CompiledBackend {
    /// What the backend is.
    pub backend: Arc<model::Backend>,
    /// CA certificates to trust; `None` means the system's or no TLS.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Separates connection pools that must not be shared.
    pub pool_key: u64,
    /// What the data plane derives from this backend, once.
    pub connector: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Metrics with the backend's label.
    pub metrics: BackendMetrics,
    /// What is known of each endpoint, in their order.
    endpoints: Vec<Arc<EndpointState>>,
    balancer: Arc<Balancer>,
    schedule: Schedule,
}

impl CompiledBackend {
    /// Chooses an endpoint, by its position; `None` when none takes requests.
    ///
    /// One that is down, or was `tried` for this request, is taken only where
    /// there is no other: an endpoint that may fail is better than none.
    pub fn choose(&self, tried: &[usize]) -> Option<usize> {
        let fresh = |index: usize| !tried.contains(&index);
        self.turn(|index| fresh(index) && self.is_up(index))
            .or_else(|| self.turn(fresh))
            .or_else(|| self.turn(|index| self.is_up(index)))
            .or_else(|| self.schedule.pick(&self.balancer))
    }

    /// Whether an endpoint takes requests. What a health check said of it counts
    /// only where there is one.
    fn is_up(&self, index: usize) -> bool {
        let endpoint = &self.endpoints[index];
        match self.backend.health {
            Some(_) => endpoint.is_up(),
            None => !endpoint.is_ejected(),
        }
    }

    /// The state of an endpoint.
    pub fn endpoint(&self, index: usize) -> &Arc<EndpointState> {
        &self.endpoints[index]
    }

    /// Notes a failure of an endpoint; tells for how long it is left out now.
    pub fn failed(&self, index: usize) -> Option<Duration> {
        let settings = &self.backend.ejection;
        self.endpoints[index].failed(settings, || {
            let ejected = self.endpoints.iter().filter(|e| e.is_ejected()).count();
            (ejected + 1) * 100 <= self.endpoints.len() * settings.max_ejected as usize
        })
    }

    /// The next endpoint in turn that will do.
    fn turn(&self, will_do: impl Fn(usize) -> bool) -> Option<usize> {
        // A turn is a step on a counter that all share: none is taken in vain.
        if !(0..self.endpoints.len()).any(&will_do) {
            return None;
        }
        if self.backend.balance != model::Balance::LeastRequests {
            return self.schedule.pick_where(&self.balancer, will_do);
        }
        let (first, other) = self.schedule.pick_two(&self.balancer, will_do)?;
        let load = |index: usize, weight_of: usize| {
            u64::from(self.endpoints[index].in_flight())
                * u64::from(self.backend.endpoints[weight_of].weight)
        };
        Some(match other {
            // Requests for each unit of weight, compared crosswise.
            Some(other) if load(other, first) < load(first, other) => other,
            _ => first,
        })
    }
}

/// The WAF of a rule.
#[derive(Debug)]
pub struct CompiledWaf {
    /// The profile.
    pub profile: Arc<model::WafProfile>,
    /// Its rules.
    pub rules: Arc<RuleSet>,
    /// Block or detect, on this rule.
    pub mode: EngineMode,
}
