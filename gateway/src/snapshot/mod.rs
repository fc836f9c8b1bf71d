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

mod affinity;
mod authentication;
mod backend;
mod backend_state;
mod balance;
mod compile;
mod egress;
mod egress_destinations;
mod egress_upstream;
mod endpoint;
mod error_pages;
mod gate;
mod limiter;
mod live;
mod peak_ewma;
mod reads;
pub mod rendezvous;
mod retry_budget;
mod rule_sets;
mod sticky;
mod tcp;
mod udp;
mod upstream_sessions;
mod upstream_tls;
mod waf;
mod waf_change;

pub use authentication::CompiledAuthentication;
pub use backend::{Chosen, CompiledBackend, EndpointSet, Member, Preference};
pub use backend_state::BackendState;
pub(crate) use backend_state::is_refused;
pub use balance::{Balancer, Schedule};
pub use compile::compile;
pub use egress::{CompiledEgress, Inspection};
pub use egress_destinations::DestinationTls;
pub use egress_upstream::CompiledUpstreamProxy;
pub use endpoint::{EndpointState, InFlight};
pub(crate) use error_pages::{AskedBackend, PageSource, is_accepted};
pub use error_pages::{CompiledErrorPage, CompiledErrorPages};
pub use gate::{Gate, NoPlace, Place, Queueing};
pub use limiter::{LimitDecision, LimitSubject, Limiter};
pub use live::Live;
pub use reads::{ContentHash, Reads};
pub use retry_budget::RetryBudget;
pub use rule_sets::{RuleProblems, compile_rules};
pub use sticky::Sticky;
pub use tcp::{CompiledTcpRoute, TcpRoutes};
pub use udp::{CompiledUdpRoute, UdpRoutes};
pub use upstream_tls::UpstreamTls;
pub(crate) use upstream_tls::{parse_certificates, system_authorities};

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use hickory_resolver::TokioResolver;
use http::HeaderName;
use portcullis_config::{access::AddressSet, dump::dump, model, route::RouteTable, validate::Made};
use portcullis_waf::{Collections, EngineMode, RuleSet, SecretNames};
use prometheus::IntCounter;

use crate::{document_hash::DocumentHash, identity::Authenticator, telemetry::RuleMetrics};

/// Everything a request is answered from.
#[derive(Debug)]
pub struct Snapshot {
    /// Number of this snapshot, from 1.
    pub version: u64,
    /// Names whose values no log tells.
    pub secrets: Arc<SecretNames>,
    /// SHA-256 of the configuration and of the files it names, as they were read, in hex.
    pub hash: String,
    /// When it was built.
    pub built: SystemTime,
    /// The document that the model is of, and what became of each of its items.
    pub(crate) made: Made,
    /// The hash of the document, where it is not of files alone.
    pub(crate) document_hash: Option<DocumentHash>,
    /// The effective configuration as YAML, once somebody has asked for it.
    yaml: OnceLock<String>,
    /// The model it was compiled from.
    pub model: model::Model,
    /// The egress section, shared with open tunnels.
    pub egress: Option<Arc<CompiledEgress>>,
    /// Which rule a request takes.
    pub routes: RouteTable,
    /// Which backend a connection is passed on to.
    pub tcp_routes: TcpRoutes,
    /// Which backend a datagram is passed on to.
    pub udp_routes: UdpRoutes,
    /// The compiled rules by id.
    rules: HashMap<String, Arc<CompiledRule>>,
    backends: Vec<Arc<CompiledBackend>>,
    /// Error pages of requests that no rule takes.
    error_pages: Vec<Arc<CompiledErrorPages>>,
    authenticators: Vec<Arc<Authenticator>>,
    /// What looks up named endpoints, where there are such.
    pub dns: Option<TokioResolver>,
    /// The rule sets of every profile and route. Those that no rule uses are held too, or
    /// each reload would compile them again.
    rule_sets: waf::WafRuleSets,
}

impl Snapshot {
    /// The effective configuration as YAML. Written when it is asked for: it would take
    /// a third of a reload, and few look at it.
    pub fn yaml(&self) -> &str {
        self.yaml
            .get_or_init(|| dump(self.made.document(), &self.model))
    }

    /// Finds what was compiled for a rule of this snapshot's route table.
    pub fn rule(&self, id: &str) -> Option<&Arc<CompiledRule>> {
        self.rules.get(id)
    }

    /// The rule set of a profile.
    pub fn rule_set(&self, profile: &str) -> Option<&Arc<RuleSet>> {
        self.rule_sets.profile(profile)
    }

    /// Every backend.
    pub fn backends(&self) -> &[Arc<CompiledBackend>] {
        &self.backends
    }

    /// The error pages of requests that no rule takes.
    pub fn error_pages(&self) -> &[Arc<CompiledErrorPages>] {
        &self.error_pages
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
    /// Who gets some of its requests, by the rule's `canary`.
    pub canary: Option<Arc<CompiledBackend>>,
    /// What keeps a client with one of its backends.
    pub sticky: Option<Sticky>,
    /// Who gets copies of its requests.
    pub mirrors: Vec<CompiledMirror>,
    /// Who a client must be, in order; empty where anybody may come.
    pub authentications: Vec<CompiledAuthentication>,
    /// Headers that are never taken from a client; sorted.
    pub identity_headers: Vec<HeaderName>,
    /// Rate limits, with their counters.
    pub limiters: Vec<RuleLimiter>,
    /// The WAF, where the rule has one.
    pub waf: Option<CompiledWaf>,
    /// Its error pages.
    pub error_pages: Vec<Arc<CompiledErrorPages>>,
    /// Metrics with the rule's labels.
    pub metrics: Arc<RuleMetrics>,
}

/// A mirror of a rule.
#[derive(Clone, Debug)]
pub struct CompiledMirror {
    /// The backend.
    pub backend: Arc<CompiledBackend>,
    /// Its share: requests of a million.
    pub per_million: u32,
    /// Whether a copy has the body of its request.
    pub copies_body: bool,
    /// Bytes of a body that is copied; a request with more is not.
    pub max_body_size: u64,
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

impl CompiledRule {
    /// Whether nothing else would become of a rule: it is the same, and so is all that it
    /// refers to. What is read from files with it, or counts, is compiled again.
    fn is_still(
        &self,
        rule: &Arc<model::Rule>,
        backends: &HashMap<String, Arc<CompiledBackend>>,
        waf: Option<&CompiledWaf>,
    ) -> bool {
        let policies = &rule.policies;
        let is_same = |backend: &Arc<CompiledBackend>| {
            let now = backends.get(&backend.backend.name);
            now.is_some_and(|now| Arc::ptr_eq(now, backend))
        };
        let targets = self.targets.iter().flat_map(|targets| &targets.backends);
        let mirrors = self.mirrors.iter().map(|mirror| &mirror.backend);
        let is_same_waf = match (&self.waf, waf) {
            (None, None) => true,
            (Some(before), Some(now)) => before.is_same(now),
            _ => false,
        };
        Arc::ptr_eq(&self.rule, rule)
            && rule.sticky.is_none()
            && policies.authentication.is_empty()
            && policies.rate_limits.is_empty()
            && policies.error_pages.is_empty()
            && is_same_waf
            && targets.chain(&self.canary).chain(mirrors).all(is_same)
    }
}

impl Targets {
    /// The backends that a model names, by weight.
    fn new(
        wanted: &[(Arc<model::Backend>, u32)],
        backends: &HashMap<String, Arc<CompiledBackend>>,
        balancer: Arc<Balancer>,
    ) -> Self {
        let (backends, weights): (Vec<_>, Vec<_>) = wanted
            .iter()
            .filter_map(|(backend, weight)| {
                Some((Arc::clone(backends.get(&backend.name)?), *weight))
            })
            .unzip();
        Self {
            backends,
            balancer,
            schedule: Schedule::new(&weights),
        }
    }

    /// The backend of a name, where it is one of these.
    pub fn named(&self, name: &str) -> Option<&Arc<CompiledBackend>> {
        let mut backends = self.backends.iter();
        backends.find(|known| known.backend.name == name)
    }

    /// Chooses the next backend; `None` when none takes requests.
    pub fn next(&self) -> Option<&Arc<CompiledBackend>> {
        self.schedule
            .pick(&self.balancer)
            .map(|index| &self.backends[index])
    }
}

/// The WAF of a rule.
#[derive(Debug)]
pub struct CompiledWaf {
    /// The profile.
    pub profile: Arc<model::WafProfile>,
    /// Its rules.
    pub rules: Arc<RuleSet>,
    /// What they remember from one request to the next.
    pub collections: Arc<Collections>,
    /// Block or detect, on this rule.
    pub mode: EngineMode,
    /// Names whose values no log tells.
    pub secrets: Arc<SecretNames>,
}

impl CompiledWaf {
    fn is_same(&self, other: &Self) -> bool {
        let Self {
            profile,
            rules,
            collections,
            mode,
            secrets,
        } = self;
        Arc::ptr_eq(profile, &other.profile)
            && Arc::ptr_eq(rules, &other.rules)
            && Arc::ptr_eq(collections, &other.collections)
            && *mode == other.mode
            && Arc::ptr_eq(secrets, &other.secrets)
    }
}
