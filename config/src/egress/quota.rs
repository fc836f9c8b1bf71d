//! What one client may use of what policies allow, and which quotas count a request.
//!
//! All that meet a request count it, and each must have something left. So the order of policies
//! and entries means nothing, and a second way to the same destination is no way out of the
//! quota of the first.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{EgressPolicy, EgressRule, EgressRules, Host, Request, Selected};
use crate::document::{EgressMode, Rate};

/// A quota; at least one of its limits is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressQuota {
    /// Bytes that a client may send in a window; `None` means any number.
    pub bytes_out: Option<u64>,
    /// The time that [`EgressQuota::bytes_out`] is for.
    pub window: Duration,
    /// Tunnels and plain requests of a client at once; `None` means any number.
    pub connections: Option<u32>,
    /// Rate of new tunnels and plain requests of a client; `None` means any.
    pub rate: Option<Rate>,
}

impl EgressQuota {
    /// The window of a quota that names none.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(86_400);

    /// The longest: what was used in it is remembered for so long, in memory.
    pub const MAX_WINDOW: Duration = Duration::from_secs(31 * 86_400);
}

/// A quota that counts a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Where it stands.
    pub place: QuotaPlace,
    /// What each client may use.
    pub quota: EgressQuota,
    /// Whether what is over it is refused, or only told: the mode of its policy.
    pub mode: EgressMode,
}

/// Where a quota stands. A client has one count for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuotaPlace {
    /// Name of the policy, which no other has.
    pub policy: Arc<str>,
    /// What of it.
    pub part: QuotaPart,
}

/// What of a policy a quota stands in. Entries are known by their text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuotaPart {
    /// The policy itself.
    Policy,
    /// An entry of its `allow`.
    Allow(Arc<str>),
    /// An entry of its `delegate.allow`.
    Delegate(Arc<str>),
}

impl QuotaPlace {
    /// Text of the entry; `None` where it stands in the policy itself.
    pub fn rule(&self) -> Option<&Arc<str>> {
        match &self.part {
            QuotaPart::Policy => None,
            QuotaPart::Allow(text) | QuotaPart::Delegate(text) => Some(text),
        }
    }
}

/// The quotas that count a request, each once.
///
/// Those of entries that allow it, or leave it to policies; those of policies that allow it; and
/// those of floors, whoever allows it. A tunnel that is looked into (`inspected`) is counted for
/// all that its requests may be: by what allows some of them too.
pub(super) fn allowances(
    selected: &Selected<'_>,
    request: Request<'_>,
    inspected: bool,
) -> Vec<Allowance> {
    let counts = |rule: &EgressRule| rule.allows(request) || inspected && rule.covers(request);
    let host = &request.authority.host;
    let floors = selected.cluster.iter();
    let floors = floors.map(|policy| (true, *policy, policy.mode));
    let workload = selected.workload.iter();
    let workload = workload.map(|(policy, mode)| (false, *policy, *mode));
    let mut found: Vec<Allowance> = Vec::new();
    let mut places = HashSet::new();
    for (is_floor, policy, mode) in floors.chain(workload) {
        let parts = parts(policy, is_floor, host, &counts);
        for (part, quota) in parts {
            let place = QuotaPlace {
                policy: Arc::clone(&policy.name),
                part,
            };
            if places.insert(place.clone()) {
                found.push(Allowance { place, quota, mode });
            }
        }
    }
    found
}

/// The quotas of one policy.
fn parts(
    policy: &EgressPolicy,
    is_floor: bool,
    host: &Host,
    counts: &dyn Fn(&EgressRule) -> bool,
) -> Vec<(QuotaPart, EgressQuota)> {
    let left = policy.delegate.as_ref();
    let left = left.and_then(|delegate| delegate.allow.as_ref());
    let mut found = Vec::new();
    if let Some(quota) = policy.quota
        && (is_floor || policy.allows_all_of(host) || policy.allow.first(host, counts).is_some())
    {
        found.push((QuotaPart::Policy, quota));
    }
    found.extend(of_rules(&policy.allow, QuotaPart::Allow, host, counts));
    found.extend(left.map_or_else(Vec::new, |left| {
        of_rules(left, QuotaPart::Delegate, host, counts)
    }));
    found
}

fn of_rules(
    rules: &EgressRules,
    part: impl Fn(Arc<str>) -> QuotaPart,
    host: &Host,
    counts: &dyn Fn(&EgressRule) -> bool,
) -> Vec<(QuotaPart, EgressQuota)> {
    if !rules.have_quotas() {
        return Vec::new();
    }
    let rules = rules.all(host, |rule| rule.quota.is_some() && counts(rule));
    let of_rule = |rule: &EgressRule| Some((part(Arc::clone(&rule.text)), rule.quota?));
    rules.into_iter().filter_map(of_rule).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::egress::{
        Authority, HttpRequest, decide,
        decide_tests::{client, egress},
    };

    /// The quotas that count a tunnel, or a plain request, to a destination: where they stand,
    /// their mode where it is not to enforce, and the connections that they let be.
    fn counted(section: &str, target: &str, http: Option<(&str, &str)>) -> Vec<String> {
        let egress = egress(section);
        let client = client();
        let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
        let authority = Authority::parse(target.as_bytes(), None).expect("an authority");
        let request = Request {
            authority: &authority,
            http: http.map(|(method, path)| HttpRequest {
                method,
                overriding: None,
                path,
                tls: false,
            }),
            now: SystemTime::now(),
        };
        let selected = selected.expect("a policy");
        let decision = decide(&selected, request, &egress.cluster_ranges);
        let told = |allowance: &Allowance| {
            let QuotaPlace { policy, part } = &allowance.place;
            let part = match part {
                QuotaPart::Policy => String::new(),
                QuotaPart::Allow(text) => format!("/{text}"),
                QuotaPart::Delegate(text) => format!("/delegate/{text}"),
            };
            let mode = match allowance.mode {
                EgressMode::Enforce => String::new(),
                mode => format!(" {mode:?}").to_lowercase(),
            };
            let most = allowance.quota.connections.expect("a number");
            format!("{policy}{part}{mode} {most}")
        };
        let mut all: Vec<String> = decision.quotas.iter().map(told).collect();
        all.sort();
        all
    }

    #[test]
    fn all_quotas_of_what_allows_a_request_count_it_and_no_others() {
        let section = "policies: [
          {name: a, $me, quota: {connections: 1}, allow: [free.in.test, '*.in.test', {host: a.in.test, quota: {connections: 2}},
              {host: a.in.test, ports: [8443], quota: {connections: 2}}, {regex: 'a\\.in.*', quota: {connections: 3}},
              {host: a.in.test, methods: [GET], quota: {connections: 2}}]},
          {name: b, $me, mode: report, quota: {connections: 4}, allow: [{host: a.in.test, quota: {connections: 5}}]},
          {name: c, $me, quota: {connections: 6}, allow: [c.example]},
          {name: all, $me, quota: {connections: 7}, allowAll: true},
          {name: other, subjects: [{addresses: [192.0.2.0/24]}], quota: {connections: 8}, allowAll: true}]";
        let all = [
            "a 1",
            "a/a.in.test 2",
            "a/a\\.in.* 3",
            "all 7",
            "b report 4",
            "b/a.in.test report 5",
        ];
        for (target, http, expected) in [
            // A wider entry without a quota is no way out, nor is another policy.
            ("a.in.test:443", None, &all[..]),
            ("a.in.test:80", Some(("GET", "/")), &all[..]),
            ("free.in.test:443", None, &["a 1", "all 7"][..]),
            ("a.in.test:8443", None, &["a/a.in.test 2", "a 1", "all 7"]),
            ("c.example:443", None, &["all 7", "c 6"]),
            ("10.9.9.9:443", None, &[]),
        ] {
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(
                counted(section, target, http),
                expected,
                "{target} {http:?}"
            );
        }
    }

    #[test]
    fn quotas_of_floors_count_whatever_allows_a_request() {
        let section = "clusterPolicies: [
          {name: floor, $me, quota: {connections: 1}, allow: [{host: f.in.test, quota: {connections: 2}}],
              delegate: {modes: [enforce], allow: ['*.in.test', {host: a.in.test, quota: {connections: 3}}]}},
          {name: trial, $me, mode: report, quota: {connections: 4}}],
        policies: [{name: p, $me, mode: open, quota: {connections: 5}, allow: [a.in.test, b.in.test, {cidr: 198.51.100.0/24}]}]";
        let floors = ["floor 1", "trial report 4"];
        for (target, more) in [
            // A policy is held to its own quotas in the mode that floors leave it.
            ("a.in.test:443", &["floor/delegate/a.in.test 3", "p 5"][..]),
            ("b.in.test:443", &["p 5"]),
            ("f.in.test:443", &["floor/f.in.test 2"]),
        ] {
            let mut expected = [&floors, more].concat();
            expected.sort_unstable();
            assert_eq!(counted(section, target, None), expected, "{target}");
        }
        // What goes by a mode alone is counted by floors alone.
        let open = section.replace("modes: [enforce]", "modes: [open]");
        let expected = ["floor 1", "floor/delegate/a.in.test 3", "trial report 4"];
        assert_eq!(counted(&open, "a.in.test:8443", None), floors);
        assert_eq!(
            counted(
                &open.replace("allow: [a.", "deny: [z."),
                "a.in.test:443",
                None
            ),
            expected
        );
        // A tunnel that is looked into may be used for what any entry with paths allows.
        let seen = "inspection: {certificate: a, key: b}, policies: [
            {name: p, $me, allow: [{host: a.in.test, inspect: true, paths: [/a]},
              {host: a.in.test, paths: [/b], quota: {connections: 1}}]},
            {name: q, $me, quota: {connections: 2}, allow: [{host: a.in.test, methods: [GET]}]}]";
        let expected = ["p/a.in.test 1", "q 2"];
        assert_eq!(counted(seen, "a.in.test:443", None), expected);
        let unseen = seen.replace("inspect: true, ", "");
        assert!(counted(&unseen, "a.in.test:443", None).is_empty());
        // What can never be reached is counted by nobody.
        assert!(counted(section, "127.0.0.1:443", None).is_empty());
    }
}
