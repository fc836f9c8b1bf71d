//! The decision on one request inside a tunnel, by the policies of now.

use std::{sync::Arc, time::SystemTime};

use portcullis_config::egress::{HttpRequest, Injection, Request, Selected, Wanted};

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
    /// Until when it is allowed.
    pub(super) until: Option<SystemTime>,
    /// What it is looked into for, by all that allow its name: which of them allow its addresses
    /// does not matter, or they would choose who looks.
    wanted: Vec<Wanted>,
    /// What those ask for that allow it.
    granted: Vec<Wanted>,
}

/// Decides on a request by its method, that which a field asks for, and its canonical path. The record learns what is decided.
///
/// # Errors
/// What refuses it.
pub(super) fn judge(
    inside: &Inside,
    (method, overriding, path): (&str, Option<&str>, &str),
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
            overriding,
            path,
            tls: true,
        }),
        now: SystemTime::now(),
    };
    let mut decision = by_name(&egress, &selected, request, record)?;
    let wanted = decision.inspections();
    by_addresses(&egress, &selected, &mut decision, request, record)?;
    let (granted, until) = (decision.inspections(), decision.until());
    drop(selected);
    Ok(Judged {
        until,
        wanted,
        granted,
        egress,
    })
}

impl Judged {
    /// The WAF profiles that look at it, each with who says what becomes of what they find.
    pub(super) fn profiles(&self) -> Vec<(&String, &Wanted)> {
        Wanted::each(&self.wanted, |inspection| inspection.waf.as_ref())
    }

    /// The credentials that it is given, each with who says so.
    pub(super) fn injections(&self) -> Vec<(&Injection, &Wanted)> {
        Wanted::each(&self.granted, |inspection| inspection.inject.as_ref())
    }
}

/// Refuses what its entry allows and the request itself does not bear, or notes it where the
/// policy of that entry only reports.
///
/// # Errors
/// The refusal, where it acts.
pub(super) fn object(
    wanted: &Wanted,
    reason: &'static str,
    record: &mut Record,
) -> Result<(), Refusal> {
    pass_or_refuse(&wanted.objection(reason), record)
}
