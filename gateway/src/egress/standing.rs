//! Whether what is open may stay so.
//!
//! It is decided on again when the configuration has changed and when the entry that allowed
//! it ends: who the client is, the name, the addresses it was opened to, and what goes over it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use portcullis_config::{
    egress::{
        Authority, Beginnings, Host, HttpRequest, Refused, Request, Selected, decide,
        judge_addresses,
    },
    model::EgressMode,
};

use super::{
    audit::Record,
    first_bytes::Beginning,
    identify::{Known, client_of, has_changed, identify_again},
    peer::Peer,
    quota::Charge,
    servers::State,
};
use crate::snapshot::CompiledEgress;

/// What goes over a connection.
#[derive(Clone, Debug)]
pub(super) enum Carried {
    /// A request that is seen.
    Request {
        /// Its method.
        method: String,
        /// The method that a field asks for.
        overriding: Option<String>,
        /// Its canonical path.
        path: String,
        /// Whether it came inside TLS.
        tls: bool,
    },
    /// What nobody has looked at.
    Raw,
    /// What began so.
    Judged(Beginning),
    /// TLS that began so, and is looked into.
    Inspected(Beginning),
}

/// A connection that is open.
pub(super) struct Standing {
    state: Arc<State>,
    client: IpAddr,
    identity: Option<Known>,
    peer: Arc<Peer>,
    authority: Authority,
    resolved: Vec<IpAddr>,
    carried: Carried,
    until: Option<SystemTime>,
    /// What is taken of quotas; nothing of a request inside a tunnel.
    charge: Option<Arc<Charge>>,
    /// The configuration and the table of TLS that it was decided on by here; none yet: one may have come since
    /// the connection was allowed, while the destination was dialled.
    judged: Option<(u64, u64)>,
}

impl Standing {
    /// Takes what was opened, until when that holds and what is taken of quotas for it, and what
    /// goes over it. Of a request inside a tunnel nothing is taken: the tunnel has taken it.
    pub(super) fn new(
        state: &Arc<State>,
        authority: &Authority,
        record: &Record,
        (until, charge): (Option<SystemTime>, Option<Arc<Charge>>),
        carried: Carried,
    ) -> Self {
        Self {
            state: Arc::clone(state),
            client: record.client.ip(),
            identity: record.identity.clone(),
            peer: Arc::clone(&record.peer),
            authority: authority.clone(),
            resolved: record.resolved.clone(),
            carried,
            until,
            charge,
            judged: None,
        }
    }

    /// Why it must end now, if it must.
    pub(super) fn cut(&mut self) -> Option<&'static str> {
        let charge = self.charge.as_ref();
        if let Some(reason) = charge.and_then(|charge| charge.cut(Instant::now())) {
            return Some(reason);
        }
        if self.state.is_drained() {
            return Some("drained");
        }
        let (version, now) = (self.state.version(), SystemTime::now());
        let is_over = self.until.is_some_and(|until| until <= now);
        let is_other = has_changed(self.state.pods(), self.identity.as_ref());
        if self.judged.replace(version) == Some(version) && !is_over && !is_other {
            return None;
        }
        let judged = match self.state.egress() {
            Some(egress) => self.judge(&egress, now),
            None => Err("policy_changed"),
        };
        match judged {
            Ok(until) => {
                self.until = until;
                None
            }
            Err(reason) => Some(reason),
        }
    }

    /// Takes how the tunnel has begun, where more is known of that than when it was opened.
    pub(super) fn began(&mut self, beginning: Beginning) {
        self.carried = Carried::Judged(beginning);
        self.judged = None;
    }

    /// Until when it may stay, under a configuration.
    fn judge(
        &mut self,
        egress: &CompiledEgress,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, &'static str> {
        const CHANGED: &str = "policy_changed";
        if !self.peer.is_admitted(self.state.tls()) {
            return Err(CHANGED);
        }
        let pods = self.state.pods();
        let from = (self.client, self.peer.identity().is_some());
        self.identity = identify_again(egress, pods, from, self.identity.as_ref())?;
        let client = client_of(self.client, self.identity.as_ref(), self.peer.identity());
        let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
        let selected = selected.ok_or(CHANGED)?;
        let request = Request {
            authority: &self.authority,
            http: match &self.carried {
                Carried::Request {
                    method,
                    overriding,
                    path,
                    tls,
                } => Some(HttpRequest {
                    method,
                    overriding: overriding.as_deref(),
                    path,
                    tls: *tls,
                }),
                Carried::Raw | Carried::Judged(_) | Carried::Inspected(_) => None,
            },
            now,
        };
        let ranges = &egress.cluster_ranges;
        let mut decision = decide(&selected, request, ranges);
        if let Some(refused) = decision.refused.take().filter(Refused::is_final) {
            return Err(match refused.reason {
                "grant_expired" => "grant_expired",
                _ => CHANGED,
            });
        }
        if let Some(charge) = &self.charge {
            let (max_counts, quotas) = (egress.limits.max_quota_counts, &decision.quotas);
            let taken = charge.take(client, quotas, false, max_counts, Instant::now());
            taken.map_err(|unpaid| unpaid.refused.reason)?;
        }
        let resolved = &self.resolved;
        // It was looked up by an upstream proxy alone, and nobody has judged what that found.
        let is_unjudged = resolved.is_empty() && matches!(self.authority.host, Host::Name(_));
        let through = egress.upstream_proxy(&self.authority);
        if is_unjudged && through.is_none_or(|through| through.looks_up()) {
            return Err(CHANGED);
        }
        let refused = judge_addresses(&selected, &mut decision, request, resolved, ranges);
        if refused.is_some_and(|refused| refused.is_final()) {
            return Err(CHANGED);
        }
        // What began unseen stays so.
        let is_unseen = matches!(self.carried, Carried::Judged(_) | Carried::Raw);
        if is_unseen && decision.inspected {
            return Err(CHANGED);
        }
        decision.keep_raw();
        let beginnings = selected.beginnings(request, decision.inspected);
        match decision.is_raw() || self.is_fit(&beginnings) {
            true => Ok(decision.until()),
            false => Err(CHANGED),
        }
    }

    /// Whether it may go where what is raw may not.
    fn is_fit(&self, beginnings: &Beginnings) -> bool {
        match self.carried {
            Carried::Request { .. } => true,
            Carried::Raw => beginnings.faults != EgressMode::Enforce,
            Carried::Judged(beginning) | Carried::Inspected(beginning) => {
                let refused = beginning.refused(beginnings, None);
                !refused.is_some_and(|refused| refused.is_final())
            }
        }
    }
}
