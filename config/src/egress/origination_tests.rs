//! What is decided on plain requests that are to be sent over TLS.

use std::time::SystemTime;

use super::{decide_tests::client, inspection_tests::validated, *};
use crate::{model::Egress, problem::Severity};

fn egress(policies: &str) -> Egress {
    let (egress, mut problems) = validated(policies);
    problems.retain(|problem| problem.severity == Severity::Error);
    assert!(problems.is_empty(), "{policies}: {problems:?}");
    egress
}

/// Where a request goes (a path is one in clear, none is a tunnel), by what WAF profiles, or why
/// it does not.
fn outcome(policies: &str, target: &str, path: Option<&str>) -> String {
    let egress = egress(policies);
    let client = client();
    let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
    let selected = selected.expect("a policy");
    let authority = Authority::parse(target.as_bytes(), None).expect("an authority");
    let seen = |tls| {
        path.map(|path| HttpRequest {
            method: "GET",
            overriding: None,
            path,
            tls,
        })
    };
    let asked = Request {
        authority: &authority,
        http: seen(false),
        now: SystemTime::now(),
    };
    let originated = selected.originated(asked);
    let decided = Request {
        authority: originated.as_ref().unwrap_or(&authority),
        http: seen(originated.is_some()),
        ..asked
    };
    let decision = decide(&selected, decided, &egress.cluster_ranges);
    let way = match &originated {
        Some(authority) => format!("tls to {authority}"),
        None => "as it is".into(),
    };
    let refused = decision.refused.as_ref();
    let refused = refused.map(|refused| match refused.is_final() {
        true => refused.reason.to_owned(),
        false => format!("would {}", refused.reason),
    });
    let wanted = decision.inspections();
    let wafs = Wanted::each(&wanted, |inspection| inspection.waf.as_ref());
    let mut said = vec![way];
    said.extend(refused);
    said.extend(wafs.into_iter().map(|(waf, _)| waf.clone()));
    said.join(", ")
}

#[test]
fn a_plain_request_goes_over_tls_or_nowhere_where_an_entry_says_so() {
    let one = "policies: [{name: p, $me, allow: [{host: a.test, originateTls: true}]}]";
    let port =
        "policies: [{name: p, $me, allow: [{host: a.test, ports: [8443], originateTls: true}]}]";
    let paths = "policies: [{name: p, $me, allow: [{host: a.test, paths: [/x], originateTls: true}, {host: a.test, ports: [80]}]}]";
    let beside = "policies: [{name: p, $me, allow: [a.test]}, {name: q, $me, allow: [{host: a.test, originateTls: true}]}]";
    let over = "policies: [{name: p, $me, allow: [{host: a.test, originateTls: true, until: '2001-01-01T00:00:00Z'}, {host: a.test, ports: [80]}]}]";
    let denied = "policies: [{name: p, $me, allow: [a.test, {host: a.test, originateTls: true}], deny: [{host: a.test, ports: [443]}]}]";
    for (policies, target, path, expected) in [
        (one, "a.test:80", Some("/"), "tls to a.test:443"),
        (one, "a.test:443", Some("/"), "tls to a.test:443"),
        (one, "a.test:443", None, "as it is"),
        // Nor in clear through a tunnel, which another entry may allow.
        (one, "a.test:80", None, "as it is, clear_refused"),
        (beside, "a.test:80", None, "as it is, clear_refused"),
        (beside, "a.test:443", None, "as it is"),
        (one, "a.test:8080", Some("/"), "as it is, port_not_allowed"),
        (one, "b.test:80", Some("/"), "as it is, not_allowed"),
        (port, "a.test:8443", Some("/"), "tls to a.test:8443"),
        (port, "a.test:80", Some("/"), "as it is, port_not_allowed"),
        // What another entry says in clear is not asked.
        (paths, "a.test:80", Some("/x"), "tls to a.test:443"),
        (
            paths,
            "a.test:80",
            Some("/y"),
            "tls to a.test:443, request_not_allowed",
        ),
        // What names paths is about requests that are seen.
        (paths, "a.test:443", None, "as it is, request_not_allowed"),
        (beside, "a.test:80", Some("/"), "tls to a.test:443"),
        (over, "a.test:80", Some("/"), "as it is"),
        (
            denied,
            "a.test:80",
            Some("/"),
            "tls to a.test:443, denied_host",
        ),
    ] {
        assert_eq!(
            outcome(policies, target, path),
            expected,
            "{policies} {target}"
        );
    }
}

#[test]
fn what_looks_at_requests_looks_at_those_and_no_tunnel_goes_round_it() {
    let waf = "policies: [{name: p, $me, allow: [{host: a.test, originateTls: true, waf: out}]}]";
    let both = "policies: [{name: p, $me, allow: [{host: a.test, originateTls: true, inspect: true, waf: out}]}]";
    let two = "policies: [{name: p, $me, allow: [{host: a.test, originateTls: true}]}, {name: q, $me, allow: [{host: a.test, inspect: true, waf: out}]}]";
    for (policies, path, expected) in [
        (waf, Some("/"), "tls to a.test:443, out"),
        (waf, None, "as it is, request_not_allowed"),
        (both, Some("/"), "tls to a.test:443, out"),
        (both, None, "as it is, out"),
        (two, Some("/"), "tls to a.test:443, out"),
    ] {
        let port = if path.is_some() { 80 } else { 443 };
        let target = format!("a.test:{port}");
        assert_eq!(outcome(policies, &target, path), expected, "{policies}");
    }
}

#[test]
fn floors_and_modes_hold_for_what_is_sent_over_tls() {
    let floor = |entry: &str, mode: &str, allow: &str| {
        format!(
            "clusterPolicies: [{{name: f, $me, delegate: {{allow: [{entry}]}}}}], policies: [{{name: p, $me, mode: {mode}, allow: [{allow}]}}]"
        )
    };
    let own = "{host: a.test, originateTls: true}";
    for (entry, mode, allow, expected) in [
        ("a.test", "enforce", own, "tls to a.test:443"),
        ("b.test", "enforce", own, "tls to a.test:443, not_delegated"),
        (
            "{host: a.test, ports: [80]}",
            "enforce",
            own,
            "tls to a.test:443, not_delegated",
        ),
        (
            "{host: a.test, inspect: true, waf: floor}",
            "enforce",
            own,
            "tls to a.test:443, floor",
        ),
        // A floor that leaves a host in this way leaves it in no other.
        (own, "enforce", "a.test", "tls to a.test:443"),
        (
            own,
            "enforce",
            "{host: a.test, ports: [80]}",
            "tls to a.test:443, port_not_allowed",
        ),
        (
            "{host: a.test, originateTls: true, waf: floor}",
            "report",
            "b.test",
            "tls to a.test:443, not_delegated",
        ),
        (
            own,
            "report",
            "b.test",
            "tls to a.test:443, would not_allowed",
        ),
        (
            "a.test",
            "report",
            "{host: a.test, paths: [/x], originateTls: true}",
            "tls to a.test:443, would request_not_allowed",
        ),
    ] {
        let policies = floor(entry, mode, allow);
        assert_eq!(
            outcome(&policies, "a.test:80", Some("/")),
            expected,
            "{policies}"
        );
    }
}
