//! The decision on a destination: by its name, and then by its addresses.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use super::{
    AddressClass, Allowance, Authority, EgressPolicy, EgressRule, Host, HttpRequest, Selected,
    Target, Wanted, blocked_names::why_blocked, policies::leniency, quota::allowances,
};
use crate::{access::AddressSet, document::EgressMode};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The destination.
    pub authority: &'a Authority,
    /// The request, where it can be seen; `None` for a tunnel.
    pub http: Option<HttpRequest<'a>>,
    /// When it is asked.
    pub now: SystemTime,
}

/// What the policies of a client say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What allows it, each by itself; may be empty where no refusal is final.
    pub grants: Vec<Grant>,
    /// The quotas that count it, by what is asked for: all of them, whatever its addresses are
    /// and its tunnel carries.
    pub quotas: Vec<Allowance>,
    /// What refuses it, if something does.
    pub refused: Option<Refused>,
    /// Whether a tunnel is looked into: one of those that allow it by name asks for that. Which of
    /// them allow its addresses does not matter, or they would choose whether it is seen.
    pub inspected: bool,
}

/// An entry that allows a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its policy.
    pub policy: Arc<str>,
    /// Its text; `None` where the policy allows all.
    pub rule: Option<Arc<str>>,
    /// Whether private addresses may be reached.
    pub private: bool,
    /// Whether a tunnel may carry something other than TLS.
    pub raw: bool,
    /// Until when it stays so; `None` means for ever.
    pub until: Option<SystemTime>,
    /// What its TLS is looked into for; empty where it is not.
    pub inspections: Vec<Wanted>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Stable reason code.
    pub reason: &'static str,
    /// The policy that refuses; `None` where no policy can allow it.
    pub policy: Option<Arc<str>>,
    /// Text of the entry that decided.
    pub rule: Option<Arc<str>>,
    /// Whether it acts, or is only told.
    pub mode: EgressMode,
    /// Whether no mode lifts it.
    pub always: bool,
}

impl Refused {
    /// A refusal that no mode lifts.
    fn never(reason: &'static str) -> Self {
        Self {
            reason,
            policy: None,
            rule: None,
            mode: EgressMode::Enforce,
            always: true,
        }
    }

    fn by(
        (policy, mode): (&EgressPolicy, EgressMode),
        reason: &'static str,
        rule: Option<&EgressRule>,
    ) -> Self {
        Self {
            reason,
            policy: Some(Arc::clone(&policy.name)),
            rule: rule.map(|rule| Arc::clone(&rule.text)),
            mode,
            always: false,
        }
    }

    /// Whether the request goes no further.
    pub fn is_final(&self) -> bool {
        self.always || self.mode == EgressMode::Enforce
    }
}

impl Decision {
    fn refused(refused: Refused) -> Self {
        Self {
            grants: Vec::new(),
            quotas: Vec::new(),
            refused: Some(refused),
            inspected: false,
        }
    }

    /// Whether a tunnel may carry something other than TLS, which cannot be looked into.
    pub fn is_raw(&self) -> bool {
        !self.inspected && self.grants.iter().any(|grant| grant.raw)
    }

    /// What those that allow a request ask for.
    pub fn inspections(&self) -> Vec<Wanted> {
        let all = self.grants.iter().flat_map(|grant| &grant.inspections);
        all.cloned().collect()
    }

    /// Leaves what allows a tunnel to carry something other than TLS, where something does.
    pub fn keep_raw(&mut self) {
        if self.is_raw() {
            self.grants.retain(|grant| grant.raw);
        }
    }

    /// Until when what is allowed stays so; `None` means for ever.
    pub fn until(&self) -> Option<SystemTime> {
        let ends: Option<Vec<SystemTime>> = self.grants.iter().map(|grant| grant.until).collect();
        ends?.into_iter().max()
    }
}

/// Decides on a destination by its name or literal address, before any look-up.
pub fn decide(selected: &Selected<'_>, request: Request<'_>, cluster: &AddressSet) -> Decision {
    let host = &request.authority.host;
    let blocked = match host {
        Host::Name(name) => why_blocked(name),
        Host::Address(address) => {
            let class = AddressClass::of(*address, cluster);
            (class == AddressClass::AlwaysBlocked).then_some("always_blocked")
        }
    };
    if let Some(reason) = blocked {
        return Decision::refused(Refused::never(reason));
    }
    if let Some(policy) = selected.closed() {
        let refused = Refused::by((policy, EgressMode::Enforce), "policy_closed", None);
        return Decision::refused(Refused {
            always: true,
            ..refused
        });
    }
    if let Some((policy, rule)) = selected.keeps_from_clear(request) {
        let refused = Refused::by((policy, EgressMode::Enforce), "clear_refused", Some(rule));
        return Decision::refused(Refused {
            always: true,
            ..refused
        });
    }
    let (grants, kept) = grants(selected, request);
    let is_inspected = |grant: &Grant| !grant.inspections.is_empty();
    let inspected = request.http.is_none() && grants.iter().any(is_inspected);
    // What denies some requests denies those, where they are going to be seen.
    let denied = denied(selected, request, |rule| {
        !inspected || !rule.is_about_requests()
    });
    if let Some(denied) = denied.as_ref().filter(|denied| denied.is_final()) {
        return Decision::refused(denied.clone());
    }
    let quotas = allowances(selected, request, inspected);
    if !grants.is_empty() {
        let refused = strictest(denied.into_iter().chain(kept));
        return Decision {
            grants,
            quotas,
            refused,
            inspected,
        };
    }
    let unlisted = kept.or_else(|| not_allowed(selected, request));
    // No mode of a policy opens what a floor does not leave to policies.
    let beyond = ceiling(selected, request, |rule| rule.leaves_unseen(request))
        .map(|floor| Refused::by((floor, floor.mode), "not_delegated", None));
    let all = denied.into_iter().chain(unlisted).chain(beyond);
    let refused = strictest(all);
    Decision {
        grants,
        quotas,
        refused,
        inspected,
    }
}

/// Judges all answers of a look-up, or the one literal address, before any dial. What does not
/// allow such addresses allows nothing any more.
///
/// The refusal: an address that is always blocked, a private one that nothing opens, private
/// and public ones mixed, one that a `deny` names.
pub fn judge_addresses(
    selected: &Selected<'_>,
    decision: &mut Decision,
    request: Request<'_>,
    addresses: &[IpAddr],
    cluster: &AddressSet,
) -> Option<Refused> {
    let class_of = |address: &IpAddr| AddressClass::of(*address, cluster);
    let classes: Vec<AddressClass> = addresses.iter().map(class_of).collect();
    if classes.contains(&AddressClass::AlwaysBlocked) {
        return Some(Refused::never("always_blocked"));
    }
    let of_address = |address: &IpAddr| {
        let literal = Authority {
            host: Host::Address(address.to_canonical()),
            port: request.authority.port,
        };
        let request = Request {
            authority: &literal,
            http: None,
            ..request
        };
        denied(selected, request, |_| true)
    };
    let denied = strictest(addresses.iter().filter_map(of_address));
    if denied.as_ref().is_some_and(Refused::is_final) {
        return denied;
    }
    let private = private(selected, decision, request, &classes);
    strictest(denied.into_iter().chain(private))
}

/// The refusal that lets pass least; of several that let pass as much, the first.
fn strictest(refused: impl IntoIterator<Item = Refused>) -> Option<Refused> {
    let strictness = |refused: &Refused| leniency(refused.mode);
    refused.into_iter().min_by_key(strictness)
}

/// What is wrong with private addresses, where there are some.
fn private(
    selected: &Selected<'_>,
    decision: &mut Decision,
    request: Request<'_>,
    classes: &[AddressClass],
) -> Option<Refused> {
    if !classes.contains(&AddressClass::Private) {
        return None;
    }
    let is_mixed = classes.contains(&AddressClass::Public);
    if !is_mixed && decision.grants.iter().any(|grant| grant.private) {
        decision.grants.retain(|grant| grant.private);
        return None;
    }
    let (policy, mode) = selected.default_mode()?;
    let beyond = ceiling(selected, request, |rule| rule.private && !is_mixed);
    let mode = beyond.map_or(mode, |floor| floor.mode);
    let reason = match is_mixed {
        true => "mixed_answer",
        false => "private_address",
    };
    let refused = Refused::by((policy, mode), reason, None);
    Some(match decision.grants.drain(..).next() {
        None => refused,
        // What would have to say `private`.
        Some(grant) => Refused {
            policy: Some(grant.policy),
            rule: grant.rule,
            ..refused
        },
    })
}

/// What denies a request, in whatever mode: the strictest of them.
fn denied(
    selected: &Selected<'_>,
    request: Request<'_>,
    counts: impl Fn(&EgressRule) -> bool,
) -> Option<Refused> {
    let host = &request.authority.host;
    let of_policy = |(policy, mode): (&EgressPolicy, EgressMode)| {
        let denies = |rule: &EgressRule| counts(rule) && rule.denies(request);
        let rule = policy.deny.first(host, denies)?;
        let reason = match rule.target {
            Target::Network(_) => "denied_address",
            Target::Host(_) | Target::Regex(_) => "denied_host",
        };
        Some(Refused::by((policy, mode), reason, Some(rule)))
    };
    strictest(selected.all().filter_map(of_policy))
}

/// All that allows a request, and what floors of the cluster say against it.
fn grants(selected: &Selected<'_>, request: Request<'_>) -> (Vec<Grant>, Option<Refused>) {
    let of_workload = selected.workload.iter();
    let mut allowed: Vec<Grant> = of_workload
        .flat_map(|(policy, mode)| grants_of((*policy, *mode), request))
        .collect();
    let mut kept: Option<Refused> = None;
    for floor in &selected.cluster {
        let Some(left) = left_by(floor, request) else {
            continue;
        };
        let refused = allowed
            .first()
            .filter(|_| left.is_empty())
            .map(|grant| Refused {
                rule: grant.rule.clone(),
                ..Refused::by((floor, floor.mode), "not_delegated", None)
            });
        kept = strictest(kept.into_iter().chain(refused));
        // What does not act takes nothing away.
        if floor.mode == EgressMode::Enforce {
            allowed = narrowed(&allowed, floor, &left);
        }
    }
    let of_cluster = selected.cluster.iter();
    let mut grants: Vec<Grant> = of_cluster
        .flat_map(|policy| grants_of((*policy, policy.mode), request))
        .collect();
    // What a floor allows itself it need not leave to others.
    let kept = kept.filter(|_| grants.is_empty());
    grants.append(&mut allowed);
    (grants, kept)
}

/// Grants as far as each goes with one of the entries that leave them.
fn narrowed(grants: &[Grant], floor: &EgressPolicy, left: &[&EgressRule]) -> Vec<Grant> {
    let both = |grant: &Grant, rule: &EgressRule| Grant {
        private: grant.private && rule.private,
        raw: grant.raw && rule.raw,
        until: grant.until.into_iter().chain(rule.until).min(),
        inspections: {
            let more = Wanted::of((floor, floor.mode), rule);
            grant.inspections.iter().cloned().chain(more).collect()
        },
        ..grant.clone()
    };
    let with_each = |grant| left.iter().map(move |rule| both(grant, rule));
    grants.iter().flat_map(with_each).collect()
}

/// The entries by which a floor leaves it to policies to allow a request; `None` where it leaves
/// them everything.
pub(super) fn left_by<'p>(
    floor: &'p EgressPolicy,
    request: Request<'_>,
) -> Option<Vec<&'p EgressRule>> {
    let rules = floor.delegate.as_ref()?.allow.as_ref()?;
    Some(rules.all(&request.authority.host, |rule| rule.allows(request)))
}

/// The floor that leaves nothing of a kind to policies, and so to no mode of theirs either.
pub(super) fn ceiling<'p>(
    selected: &Selected<'p>,
    request: Request<'_>,
    is_it: impl Fn(&EgressRule) -> bool,
) -> Option<&'p EgressPolicy> {
    let mut enforced = selected
        .cluster
        .iter()
        .filter(|floor| floor.mode == EgressMode::Enforce);
    let leaves_none = |floor: &&&EgressPolicy| {
        left_by(floor, request).is_some_and(|left| !left.into_iter().any(&is_it))
    };
    enforced.find(leaves_none).copied()
}

/// What a policy allows a request by.
fn grants_of((policy, mode): (&EgressPolicy, EgressMode), request: Request<'_>) -> Vec<Grant> {
    let host = &request.authority.host;
    let mut rules = policy.allow.all(host, |rule| rule.allows(request));
    let grant = |rule: Option<&EgressRule>| Grant {
        policy: Arc::clone(&policy.name),
        rule: rule.map(|rule| Arc::clone(&rule.text)),
        private: rule.is_some_and(|rule| rule.private),
        raw: rule.is_some_and(|rule| rule.raw),
        until: rule.and_then(|rule| rule.until),
        inspections: rule
            .and_then(|rule| Wanted::of((policy, mode), rule))
            .into_iter()
            .collect(),
    };
    if rules.is_empty() && policy.allows_all_of(host) {
        return vec![grant(None)];
    }
    rules.drain(..).map(|rule| grant(Some(rule))).collect()
}

/// Why no entry allows a request.
fn not_allowed(selected: &Selected<'_>, request: Request<'_>) -> Option<Refused> {
    let (host, port) = (&request.authority.host, request.authority.port);
    let (policy, mode) = selected.default_mode()?;
    let near = |accepts: &dyn Fn(&EgressRule) -> bool| {
        selected.all().find_map(|(policy, _)| {
            let rule = policy
                .allow
                .first(host, |rule| rule.names(host) && accepts(rule))?;
            Some((policy, rule))
        })
    };
    let near = near(&|rule| rule.has_port(port)).or_else(|| near(&|_| true));
    let Some((near, rule)) = near else {
        let reason = match host {
            Host::Address(_) => "ip_literal",
            Host::Name(_) => "not_allowed",
        };
        return Some(Refused::by((policy, mode), reason, None));
    };
    let reason = if !rule.has_port(port) {
        "port_not_allowed"
    } else if !rule.holds(request.now) {
        "grant_expired"
    } else {
        "request_not_allowed"
    };
    Some(Refused::by((near, mode), reason, Some(rule)))
}
