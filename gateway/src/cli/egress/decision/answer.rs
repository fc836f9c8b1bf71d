//! The answer for one destination.

use std::{net::IpAddr, sync::Arc};

use portcullis_config::{
    document::{EgressMode, Timestamp},
    egress::{Explanation, Host, Opinion, Outcome, Refused, Request, Subjects},
    model::Egress,
};
use serde::Serialize;

use super::{
    places::{Place, Places},
    remedy::remedy,
    shown::Shown,
};
use crate::egress::reason_in_words;

/// What a question is asked about, whatever the destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) egress: &'a Egress,
    pub(super) shown: &'a Shown,
    pub(super) places: Places<'a>,
    /// Whether policies that are objects are among them.
    pub(super) has_objects: bool,
}

/// The answer for one destination.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    /// Canonical, where it was understood.
    pub(super) destination: String,
    /// Whether a plain request is sent over TLS.
    #[serde(rename = "originatedTls", skip_serializing_if = "std::ops::Not::not")]
    pub(super) over_tls: bool,
    #[serde(flatten)]
    pub(super) said: Said,
    /// The reason in words, of what is not simply allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) words: Option<&'static str>,
    /// Until when it is let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    /// Its addresses that were judged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) addresses: Vec<IpAddr>,
    /// What else the proxy would judge.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<String>,
    /// The quotas that count it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) quotas: Vec<Counting>,
    /// What would have to be written where, so that it is let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_allow: Option<String>,
    /// What each policy says that selects the client, alone.
    pub(super) policies: Vec<OfPolicy>,
}

/// What is said of a request, in the words of the audit log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    /// `allow`, `deny` or `would_deny`.
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<Arc<str>>,
    /// Where the entry stands, or else the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    /// Of what says so; none where no mode matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<EgressMode>,
}

/// A quota.
#[derive(Debug, Serialize)]
pub(super) struct Counting {
    pub(super) policy: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    pub(super) mode: EgressMode,
}

/// What one policy says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfPolicy {
    pub(super) name: Arc<str>,
    /// Whether it is one of `clusterPolicies`.
    pub(super) floor: bool,
    /// Its mode, as floors leave it.
    pub(super) effective_mode: EgressMode,
    /// Whether that is another than its own.
    pub(super) enforced_by_floor: bool,
    /// Of floors with `delegate.allow`: the entries of it that leave this to policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leaves: Option<Vec<Arc<str>>>,
    #[serde(flatten)]
    pub(super) said: Said,
}

impl Answer {
    /// What is no destination.
    pub(super) fn never(text: &str, reason: &'static str) -> Self {
        Self {
            destination: text.to_owned(),
            over_tls: false,
            said: Said {
                verdict: "deny",
                reason,
                policy: None,
                rule: None,
                place: None,
                mode: None,
            },
            words: Some(reason_in_words(reason)),
            until: None,
            addresses: Vec::new(),
            unknown: Vec::new(),
            quotas: Vec::new(),
            to_allow: None,
            policies: Vec::new(),
        }
    }

    /// Whether the request goes no further.
    pub(super) fn is_refused(&self) -> bool {
        self.said.verdict == "deny"
    }
}

impl Asked<'_> {
    /// The answer to a client that policies are not asked about.
    pub(super) fn unselected(self, request: Request<'_>, reason: &'static str) -> Answer {
        let mut answer = Answer::never(&request.authority.to_string(), reason);
        answer.to_allow = remedy(reason, None, request, self);
        answer.unknown = self.unknown_of_client();
        answer
    }

    /// The answer to a client that policies select.
    pub(super) fn answer(
        self,
        request: Request<'_>,
        explained: &Explanation<'_>,
        resolved: &[IpAddr],
    ) -> Answer {
        let outcome = &explained.outcome;
        let refused = outcome.refused.as_ref();
        let is_refused = outcome.is_refused();
        let until = outcome.decision.until().filter(|_| !is_refused);
        let opinions = explained.opinions.iter();
        let mut unknown = self.unknown_of_client();
        let mut quotas = Vec::new();
        if !is_refused {
            unknown.extend(unknown_of(request, outcome));
            quotas.extend(self.quotas(outcome));
        }
        Answer {
            destination: request.authority.to_string(),
            over_tls: false,
            said: self.said(outcome),
            words: refused.map(|refused| reason_in_words(refused.reason)),
            until: until.map(|until| Timestamp(until).to_string()),
            addresses: match outcome.addresses_judged {
                true => resolved.to_vec(),
                false => Vec::new(),
            },
            unknown,
            quotas,
            to_allow: refused
                .and_then(|refused| remedy(refused.reason, Some(refused), request, self)),
            policies: opinions.map(|opinion| self.of_policy(opinion)).collect(),
        }
    }

    /// What the proxy may know of the client, and policies ask for, that is not said here.
    fn unknown_of_client(self) -> Vec<String> {
        let tiers = [&self.egress.cluster_policies, &self.egress.policies];
        let any = |is_it: &dyn Fn(&Subjects) -> bool| {
            let mut policies = tiers.iter().flat_map(|tier| tier.iter());
            policies.any(|policy| is_it(&policy.subjects))
        };
        let account = self.shown.identity.as_ref();
        let has_labels = !self.shown.labels.is_empty();
        let by_labels = account.is_some_and(|account| {
            !has_labels && any(&|subjects| subjects.name_labels_of(&account.namespace))
        });
        let by_certificate = self.shown.certificate.is_none() && any(&Subjects::name_certificates);
        let told = [
            (
                self.shown.address.is_none(),
                "the address of the client: policies by address are not asked, but those for every address of IPv4",
            ),
            (
                account.is_none() && any(&Subjects::name_accounts),
                "the ServiceAccount of the client: policies by namespace are not asked",
            ),
            (
                by_labels,
                "the labels of its pod: policies by `podLabels` are not asked",
            ),
            (
                by_certificate,
                "the certificate of the client: policies by `spiffeId` and `certificateName` are not asked",
            ),
            (
                self.egress.identity.is_some() && !self.has_objects,
                "policies that are objects of the cluster: --manifests names files with them",
            ),
        ];
        let unknown = told.into_iter().filter(|(is_unknown, _)| *is_unknown);
        unknown.map(|(_, what)| what.to_owned()).collect()
    }

    fn quotas(self, outcome: &Outcome) -> impl Iterator<Item = Counting> {
        let quotas = outcome.decision.quotas.iter();
        quotas.map(move |allowance| {
            let (policy, rule) = (&allowance.place.policy, allowance.place.rule());
            Counting {
                policy: Arc::clone(policy),
                rule: rule.cloned(),
                place: self.place(policy, rule),
                mode: allowance.mode,
            }
        })
    }

    fn said(self, outcome: &Outcome) -> Said {
        let (verdict, reason, policy, rule, mode) =
            match (&outcome.refused, outcome.decision.grants.first()) {
                (Some(refused), _) => (
                    verdict(refused),
                    refused.reason,
                    refused.policy.as_ref(),
                    refused.rule.as_ref(),
                    (!refused.always).then_some(refused.mode),
                ),
                (None, Some(grant)) => {
                    let reason = match grant.rule {
                        Some(_) => "allowed",
                        None => "allow_all",
                    };
                    (
                        "allow",
                        reason,
                        Some(&grant.policy),
                        grant.rule.as_ref(),
                        None,
                    )
                }
                (None, None) => ("allow", "allow_all", None, None, None),
            };
        Said {
            verdict,
            reason,
            policy: policy.cloned(),
            rule: rule.cloned(),
            place: policy.and_then(|policy| self.place(policy, rule)),
            mode,
        }
    }

    fn place(self, policy: &str, rule: Option<&Arc<str>>) -> Option<Place> {
        match rule {
            Some(rule) => self.places.entry(rule),
            None => self.places.policy(policy),
        }
    }

    fn of_policy(self, opinion: &Opinion<'_>) -> OfPolicy {
        OfPolicy {
            name: Arc::clone(&opinion.policy.name),
            floor: opinion.is_floor,
            effective_mode: opinion.mode,
            enforced_by_floor: opinion.mode != opinion.policy.mode,
            leaves: opinion.leaves.clone(),
            said: self.said(&opinion.outcome),
        }
    }
}

/// What the proxy would judge of something that goes on, and is not known here.
fn unknown_of(request: Request<'_>, outcome: &Outcome) -> Vec<String> {
    let authority = request.authority;
    let mut unknown = Vec::new();
    if matches!(authority.host, Host::Name(_)) && !outcome.addresses_judged {
        unknown.push(
            "its addresses: nothing is looked up without --resolve, and --address gives some"
                .to_owned(),
        );
    }
    if request.http.is_none() && !outcome.decision.is_raw() {
        let clear = match authority.port {
            80 => ", or with a request in clear",
            _ => "",
        };
        unknown.push(format!(
            "what goes through the tunnel: it must begin with a ClientHello that names {}{clear}",
            authority.host
        ));
    }
    if outcome.decision.inspected {
        unknown.push(
            "each request inside, which is decided on by itself: --method and --path ask for one"
                .to_owned(),
        );
    }
    unknown
}

fn verdict(refused: &Refused) -> &'static str {
    match (refused.is_final(), refused.mode) {
        (true, _) => "deny",
        (false, EgressMode::Open) => "allow",
        (false, _) => "would_deny",
    }
}
