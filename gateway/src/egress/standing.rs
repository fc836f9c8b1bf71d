//! Whether what is open may stay so.
//!
//! It is decided on again when the configuration has changed and when the entry that allowed
//! it ends: who the client is, the name, the addresses it was opened to, and what goes over it.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use portcullis_config::{
    egress::{Authority, Client, EgressPolicy, Request, decide, judge_addresses, select},
    model::EgressMode,
};

use super::{audit::Record, first_bytes::Beginning, identify::identity_of, servers::State};
use crate::{identity::Verified, snapshot::CompiledEgress};

/// What goes over a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried<'a> {
    /// A plain request, by its method and canonical path.
    Request(&'a str, &'a str),
    /// What nobody has looked at.
    Raw,
    /// What began so.
    Judged(Beginning),
}

/// A connection that is open.
pub(super) struct Standing<'a> {
    state: &'a State,
    client: IpAddr,
    identity: Option<Arc<Verified>>,
    authority: &'a Authority,
    resolved: Vec<IpAddr>,
    carried: Carried<'a>,
    until: Option<SystemTime>,
    /// The configuration that it was decided on by here; none yet: one may have come since
    /// the connection was allowed, while the destination was dialled.
    judged: Option<u64>,
}

impl<'a> Standing<'a> {
    /// Takes what was opened, until when that holds, and what goes over it.
    pub(super) fn new(
        state: &'a State,
        authority: &'a Authority,
        record: &Record,
        until: Option<SystemTime>,
        carried: Carried<'a>,
    ) -> Self {
        Self {
            state,
            client: record.client.ip(),
            identity: record.identity.clone(),
            authority,
            resolved: record.resolved.clone(),
            carried,
            until,
            judged: None,
        }
    }

    /// Why it must end now, if it must.
    pub(super) fn cut(&mut self) -> Option<&'static str> {
        let (version, now) = (self.state.version(), SystemTime::now());
        let is_over = self.until.is_some_and(|until| until <= now);
        if self.judged.replace(version) == Some(version) && !is_over {
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

    /// Until when it may stay, under a configuration.
    fn judge(
        &self,
        egress: &CompiledEgress,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, &'static str> {
        const CHANGED: &str = "policy_changed";
        let client = Client {
            address: self.client,
            identity: identity_of(egress, self.identity.as_deref()).map_err(|()| CHANGED)?,
        };
        let policy = select(&egress.policies, client).ok_or(CHANGED)?;
        let lenient = policy.mode != EgressMode::Enforce;
        let request = Request {
            authority: self.authority,
            http: match self.carried {
                Carried::Request(method, path) => Some((method, path)),
                Carried::Raw | Carried::Judged(_) => None,
            },
            now,
        };
        let ranges = &egress.cluster_ranges;
        let decision = decide(policy, request, ranges);
        if !decision.allowed && (decision.always || !lenient) {
            return Err(match decision.reason {
                "grant_expired" => "grant_expired",
                _ => CHANGED,
            });
        }
        let stays = match judge_addresses(policy, &decision, request, &self.resolved, ranges) {
            Err(refused) => lenient && !refused.always,
            Ok(()) => lenient || decision.raw || self.is_fit(policy),
        };
        match stays {
            true => Ok(decision.until),
            false => Err(CHANGED),
        }
    }

    /// Whether it may go where what is raw may not.
    fn is_fit(&self, policy: &EgressPolicy) -> bool {
        match self.carried {
            Carried::Request(..) => true,
            Carried::Raw => false,
            Carried::Judged(beginning) => {
                beginning.refusal(policy.encrypted_client_hello).is_none()
            }
        }
    }
}
