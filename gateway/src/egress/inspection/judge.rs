//! The decision on one request inside a tunnel, by the policies of now.

use std::{sync::Arc, time::SystemTime};

use portcullis_config::{
    egress::{HttpRequest, Inspection, Refused, Request, Selected},
    model::EgressMode,
};

use super::{
    super::{
        answer::Refusal,
        audit::Record,
        decide::{by_addresses, by_name, pass_or_refuse},
        identify::{client_of, identify_again},
    },
    tunnel::Inside,
};
use crate::snapshot::CompiledEgress;

/// What is known of a request that may leave.
pub(super) struct Judged {
    /// The configuration that it was decided on by.
    pub(super) egress: Arc<CompiledEgress>,
    /// What it is looked into for.
    pub(super) inspections: Vec<Arc<Inspection>>,
    /// Until when it is allowed.
    pub(super) until: Option<SystemTime>,
    /// The mode of the policy that allows it.
    mode: EgressMode,
}

/// Decides on a request by its method and canonical path. The record learns what is decided.
///
/// # Errors
/// What refuses it.
pub(super) fn judge(
    inside: &Inside,
    (method, path): (&str, &str),
    record: &mut Record,
) -> Result<Judged, Refusal> {
    let state = &inside.state;
    let egress = state
        .egress()
        .ok_or_else(|| Refusal::changed("policy_changed"))?;
    let peer = Arc::clone(&record.peer);
    if !peer.is_admitted(state.tls()) {
        return Err(Refusal::changed("policy_changed"));
    }
    let address = record.client.ip();
    let from = (address, peer.identity().is_some());
    let known = identify_again(&egress, state.pods(), from, record.identity.as_ref());
    record.identity = known.map_err(Refusal::changed)?;
    let client = client_of(address, record.identity.as_ref(), peer.identity());
    let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
    let selected = selected.ok_or_else(|| Refusal::changed("no_policy"))?;
    let request = Request {
        authority: &inside.authority,
        http: Some(HttpRequest {
            method,
            path,
            tls: true,
        }),
        now: SystemTime::now(),
    };
    let mut decision = by_name(&egress, &selected, request, record)?;
    by_addresses(&egress, &selected, &mut decision, request, record)?;
    let policy = decision.grants.first().map(|grant| &*grant.policy);
    let mode = policy.map_or(EgressMode::Enforce, |policy| selected.mode_of(policy));
    let inspections = decision.inspections().into_iter().cloned().collect();
    let until = decision.until();
    drop(selected);
    Ok(Judged {
        inspections,
        until,
        mode,
        egress,
    })
}

impl Judged {
    /// Refuses what the policy allows and the request itself does not bear, or notes it where that
    /// policy only reports.
    ///
    /// # Errors
    /// The refusal, where it acts.
    pub(super) fn object(&self, reason: &'static str, record: &mut Record) -> Result<(), Refusal> {
        let refused = Refused {
            reason,
            policy: record.policy.clone(),
            rule: record.rule.clone(),
            mode: self.mode,
            always: false,
        };
        pass_or_refuse(&refused, record)
    }
}
