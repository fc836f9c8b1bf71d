//! Why a request is decided on as it is: what each policy says of it, and what comes of that.
//!
//! The decision is that of [`decide`] and [`judge_addresses`], as the proxy asks them; what one
//! policy says is what they say with no other beside it.

use std::{net::IpAddr, sync::Arc};

use super::{
    Decision, EgressPolicy, Host, Refused, Request, Selected, decide, decide::left_by,
    judge_addresses,
};
use crate::{access::AddressSet, document::EgressMode};

/// A decision with what led to it.
#[derive(Clone, Debug)]
pub struct Explanation<'p> {
    /// What each policy says that selects the client, those of the cluster first.
    pub opinions: Vec<Opinion<'p>>,
    /// What all of them say.
    pub outcome: Outcome,
}

/// What one policy says.
#[derive(Clone, Debug)]
pub struct Opinion<'p> {
    /// The policy.
    pub policy: &'p EgressPolicy,
    /// Whether it is one of the cluster.
    pub is_floor: bool,
    /// Its mode, as the cluster leaves it.
    pub mode: EgressMode,
    /// Of floors that leave some destinations to policies and no others: the text of each entry
    /// that leaves them this one.
    pub leaves: Option<Vec<Arc<str>>>,
    /// What would come of it alone.
    pub outcome: Outcome,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What allows it, where something does, and what counts it.
    pub decision: Decision,
    /// What is said against it, whether that acts or not.
    pub refused: Option<Refused>,
    /// Whether addresses were judged: not those of a name that is refused, and not where none are
    /// known.
    pub addresses_judged: bool,
}

impl Outcome {
    /// Whether the request goes no further.
    pub fn is_refused(&self) -> bool {
        self.refused.as_ref().is_some_and(Refused::is_final)
    }
}

/// Explains the decision on a request of a client that some policies select.
///
/// `resolved` are the addresses of a name; where there are none they are not judged. An address
/// that is asked for as such is judged always. Nothing is looked up.
pub fn explain<'p>(
    selected: &Selected<'p>,
    request: Request<'_>,
    resolved: &[IpAddr],
    cluster: &AddressSet,
) -> Explanation<'p> {
    let floors = selected.cluster.len();
    let opinions = selected.all().enumerate().map(|(place, (policy, mode))| {
        let is_floor = place < floors;
        let alone = match is_floor {
            true => Selected {
                cluster: vec![policy],
                workload: Vec::new(),
            },
            false => Selected {
                cluster: Vec::new(),
                workload: vec![(policy, mode)],
            },
        };
        let left = left_by(policy, request);
        let texts = left.map(|left| left.into_iter().map(|rule| Arc::clone(&rule.text)));
        Opinion {
            policy,
            is_floor,
            mode,
            leaves: texts.map(Iterator::collect),
            outcome: outcome(&alone, request, resolved, cluster),
        }
    });
    Explanation {
        opinions: opinions.collect(),
        outcome: outcome(selected, request, resolved, cluster),
    }
}

fn outcome(
    selected: &Selected<'_>,
    request: Request<'_>,
    resolved: &[IpAddr],
    cluster: &AddressSet,
) -> Outcome {
    let mut decision = decide(selected, request, cluster);
    let refused = decision.refused.clone();
    let literal = match request.authority.host {
        Host::Address(address) => Some(address),
        Host::Name(_) => None,
    };
    let addresses = literal.as_ref().map_or(resolved, std::slice::from_ref);
    let is_known = !addresses.is_empty() && !refused.as_ref().is_some_and(Refused::is_final);
    let judged = is_known
        .then(|| judge_addresses(selected, &mut decision, request, addresses, cluster))
        .flatten();
    decision.keep_raw();
    Outcome {
        decision,
        // As the audit log has it: what is found out later takes the place of what was known.
        refused: judged.or(refused),
        addresses_judged: is_known,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::egress::{
        Authority,
        decide_tests::{client, egress},
    };

    #[test]
    fn an_explanation_has_what_each_policy_says_and_the_decision_itself() {
        let egress = egress(
            "clusterRanges: [10.96.0.0/12],
             clusterPolicies: [{name: floor, $me, deny: [evil.a.test], delegate: {allow: ['*.a.test'], modes: [enforce]}}],
             policies: [
               {name: one, $me, mode: report, allow: [api.a.test, b.test]},
               {name: two, $me, allow: [{host: api.a.test, ports: [22], raw: true}, evil.a.test]}]",
        );
        let client = client();
        let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
        let selected = selected.expect("some");
        let said = |target: &str, addresses: &[&str]| {
            let authority = Authority::parse(target.as_bytes(), None).expect("an authority");
            let addresses: Vec<IpAddr> = addresses
                .iter()
                .map(|ip| ip.parse().expect("one"))
                .collect();
            let request = Request {
                authority: &authority,
                http: None,
                now: SystemTime::now(),
            };
            let explanation = explain(&selected, request, &addresses, &egress.cluster_ranges);
            let word = |outcome: &Outcome| match &outcome.refused {
                Some(refused) => refused.reason,
                None => "allowed",
            };
            let opinions = explanation.opinions.iter().map(|opinion| {
                let (name, word) = (&opinion.policy.name, word(&opinion.outcome));
                let left = opinion.leaves.as_ref().map_or(0, Vec::len);
                let floor = if opinion.is_floor { " floor" } else { "" };
                format!("{name}{floor} {:?} {word} {left}", opinion.mode)
            });
            let outcome = &explanation.outcome;
            let all = (
                word(outcome),
                outcome.is_refused(),
                outcome.addresses_judged,
            );
            (opinions.collect::<Vec<_>>().join(", "), all)
        };
        for (target, addresses, opinions, outcome) in [
            (
                "api.a.test:443",
                &[][..],
                "floor floor Enforce not_allowed 1, one Enforce allowed 0, two Enforce port_not_allowed 0",
                ("allowed", false, false),
            ),
            (
                "api.a.test:443",
                &["10.96.0.1"],
                "floor floor Enforce not_allowed 1, one Enforce private_address 0, two Enforce port_not_allowed 0",
                ("private_address", true, true),
            ),
            (
                "b.test:443",
                &["93.184.215.14"],
                "floor floor Enforce not_allowed 0, one Enforce allowed 0, two Enforce not_allowed 0",
                ("not_delegated", true, false),
            ),
            (
                "evil.a.test:443",
                &["93.184.215.14"],
                "floor floor Enforce denied_host 1, one Enforce not_allowed 0, two Enforce allowed 0",
                ("denied_host", true, false),
            ),
        ] {
            let expected = (opinions.to_owned(), outcome);
            assert_eq!(said(target, addresses), expected, "{target}");
        }
    }
}
