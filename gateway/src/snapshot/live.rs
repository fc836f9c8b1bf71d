//! What outlives a snapshot, keyed by stable id.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use portcullis_config::model::{Authentication, RateLimit, TcpRoute, UdpRoute};
use portcullis_waf::Collections;

use super::{
    BackendState, Balancer, ContentHash, EndpointSet, Limiter, Snapshot, affinity::ProcessKey,
    rule_sets::RuleSets,
};
use crate::{
    identity::{Authenticator, PasswordChecks},
    places::Places,
    slots::Slots,
    telemetry::Metrics,
};

/// Rate limit counters, balancer positions, the state of endpoints, what authentications
/// and WAF rules remember, and compiled rule sets.
///
/// A reload must not reset a limiter, or reloading would be a way around it: a
/// limit keeps its counters as long as a configuration defines it the same way.
#[derive(Debug, Default)]
pub struct Live {
    limiters: Mutex<BTreeMap<String, Arc<Limiter>>>,
    balancers: Mutex<BTreeMap<String, Arc<Balancer>>>,
    tcp_connections: Mutex<BTreeMap<String, Arc<Slots>>>,
    udp_sessions: Mutex<BTreeMap<String, Arc<Places>>>,
    backends: Mutex<BTreeMap<String, Arc<BackendState>>>,
    authenticators: Mutex<BTreeMap<String, Arc<Authenticator>>>,
    collections: Mutex<BTreeMap<String, Arc<Collections>>>,
    pub(super) password_checks: Arc<PasswordChecks>,
    pub(super) rule_sets: RuleSets,
    pub(super) affinity_key: ProcessKey,
}

impl Live {
    /// The limiter of this definition, with the counters of the running one where it
    /// counts in the same way.
    pub(super) fn limiter(&self, limit: &Arc<RateLimit>) -> Arc<Limiter> {
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let running = limiters.get(&limit.name);
        let resumed = running.and_then(|running| running.resumed(limit));
        Arc::new(resumed.unwrap_or_else(|| Limiter::new(Arc::clone(limit))))
    }

    /// The running authentication of these settings and this file.
    pub(super) fn authenticator(
        &self,
        settings: &Authentication,
        file: Option<ContentHash>,
    ) -> Option<Arc<Authenticator>> {
        let running = self
            .authenticators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        running
            .get(&settings.name)
            .filter(|running| running.is_of(settings, file))
            .cloned()
    }

    /// The connections of a TCP route.
    pub(super) fn tcp_connections(&self, route: &TcpRoute) -> Arc<Slots> {
        let mut open = self
            .tcp_connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let made = open
            .entry(route.name.clone())
            .or_insert_with(|| Slots::new(route.max_connections));
        Arc::clone(made)
    }

    /// The sessions of a UDP route.
    pub(super) fn udp_sessions(&self, route: &UdpRoute) -> Arc<Places> {
        let mut open = self
            .udp_sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let made = open
            .entry(route.name.clone())
            .or_insert_with(|| Arc::new(Places::new(route.max_sessions)));
        Arc::clone(made)
    }

    /// What the rules of a WAF profile remember of clients.
    pub(super) fn collections(&self, profile: &str) -> Arc<Collections> {
        let mut collections = self
            .collections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(collections.entry(profile.to_owned()).or_default())
    }

    /// The position kept under this id.
    pub(super) fn balancer(&self, id: String) -> Arc<Balancer> {
        let mut balancers = self
            .balancers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(balancers.entry(id).or_default())
    }

    /// The state of a backend.
    pub(super) fn backend(&self, name: &str) -> Arc<BackendState> {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(backends.entry(name.to_owned()).or_default())
    }

    /// Keeps what the accepted snapshot uses, and forgets the rest.
    ///
    /// Called once a snapshot serves; one that was refused changes nothing here.
    pub fn adopt(&self, snapshot: &Snapshot, metrics: &Metrics) {
        *self
            .authenticators
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = snapshot
            .authenticators()
            .iter()
            .map(|kept| (kept.settings().name.clone(), Arc::clone(kept)))
            .collect();
        let kept = snapshot
            .limiters()
            .into_iter()
            .map(|limiter| (limiter.limit().name.clone(), limiter))
            .collect();
        *self.limiters.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        let model = &snapshot.model;
        let routes = names(model.routes.iter().map(|route| &route.name));
        let tcp_routes = names(model.tcp_routes.iter().map(|route| &route.name));
        let udp_routes = names(model.udp_routes.iter().map(|route| &route.name));
        let backends = names(model.backends.iter().map(|backend| &backend.name));
        let profiles = names(model.waf_profiles.iter().map(|profile| &profile.name));
        self.collections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name, _| profiles.contains(name.as_str()));
        let mut balancers = self
            .balancers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        balancers.retain(|id, _| match id.split_once(':') {
            Some(("rule", rule)) => {
                let route = rule.rsplit_once('/').map_or(rule, |(route, _)| route);
                routes.contains(route)
            }
            Some(("tcp", route)) => tcp_routes.contains(route),
            Some(("udp", route)) => udp_routes.contains(route),
            _ => false,
        });
        self.tcp_connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name, open| {
                let kept = model.tcp_routes.iter().find(|route| route.name == *name);
                match kept {
                    Some(route) => open.set_limit(route.max_connections),
                    None => metrics.forget_tcp_route(name),
                }
                kept.is_some()
            });
        self.udp_sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name, open| {
                let kept = model.udp_routes.iter().find(|route| route.name == *name);
                match kept {
                    Some(route) => open.set_limit(route.max_sessions),
                    None => metrics.forget_udp_route(name),
                }
                kept.is_some()
            });
        self.backends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name, state| {
                let kept = backends.contains(name.as_str());
                if !kept {
                    state.serve(0);
                    state.keep(0, name, &EndpointSet::default(), metrics);
                }
                kept
            });
        for backend in snapshot.backends() {
            backend.adopt(metrics);
        }
        self.rule_sets.forget_unused();
    }
}

/// Names to look up, as there may be thousands.
fn names<'n>(names: impl Iterator<Item = &'n String>) -> HashSet<&'n str> {
    names.map(String::as_str).collect()
}
