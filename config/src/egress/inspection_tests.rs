//! What is decided on tunnels that are looked into, and on the requests inside.

use std::time::SystemTime;

use super::{decide_tests::client, *};
use crate::{
    document::EgressMode,
    model::Egress,
    problem::Problem,
    read::{SourceFile, read},
    validate::validate,
};

/// The section, with an authority and two WAF profiles, and what is told of it.
pub(super) fn validated(policies: &str) -> (Egress, Vec<Problem>) {
    let policies = policies.replace("$me", "subjects: [{addresses: [10.0.0.0/8]}]");
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: format!(
            "wafProfiles: [{{name: out}}, {{name: floor}}]\n\
             egress: {{listeners: [{{name: p}}], inspection: {{certificate: a, key: b}}, {policies}}}"
        ),
    }]);
    let validated = validate(&read.document, &read.origins);
    let problems = read.problems.into_iter().chain(validated.problems);
    let egress = validated.model.egress.expect("the section");
    (egress, problems.collect())
}

fn egress(policies: &str) -> Egress {
    let (egress, problems) = validated(policies);
    assert!(problems.is_empty(), "{policies}: {problems:?}");
    egress
}

/// What becomes of a request, and what it is looked into for.
fn outcome(egress: &Egress, target: &str, http: Option<(&str, &str, bool)>) -> String {
    let client = client();
    let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
    let selected = selected.expect("a policy");
    let authority = Authority::parse(target.as_bytes(), None).expect("an authority");
    let request = Request {
        authority: &authority,
        http: http.map(|(method, path, tls)| HttpRequest {
            method,
            overriding: None,
            path,
            tls,
        }),
        now: SystemTime::now(),
    };
    let decision = decide(&selected, request, &egress.cluster_ranges);
    if let Some(refused) = &decision.refused {
        return refused.reason.into();
    }
    let wanted = decision.inspections();
    let wafs = Wanted::each(&wanted, |inspection| inspection.waf.as_ref());
    let wafs: Vec<&str> = wafs.into_iter().map(|(waf, _)| waf.as_str()).collect();
    let is_raw = http.is_none() && decision.is_raw();
    let opened = match (decision.inspected, is_raw) {
        (true, _) => "inspected",
        (false, true) => "raw",
        (false, false) => "allowed",
    };
    format!("{opened} {}", wafs.join(" ")).trim_end().to_owned()
}

#[test]
fn tunnels_are_looked_into_where_one_entry_asks_for_it() {
    let tunnel = |policies: &str| outcome(&egress(policies), "a.test:443", None);
    let inside = |policies: &str, path: &str| {
        outcome(&egress(policies), "a.test:443", Some(("GET", path, true)))
    };
    for (policies, expected, below, elsewhere) in [
        (
            "policies: [{name: p, $me, allow: [{host: a.test, inspect: true, paths: [/x]}]}]",
            "inspected",
            "allowed",
            "request_not_allowed",
        ),
        // Who is blind adds nothing to what is seen but what it allows by itself.
        (
            "policies: [{name: p, $me, allow: [{host: a.test, inspect: true, waf: out, paths: [/x]}]}, {name: q, $me, allow: [a.test]}]",
            "inspected out",
            "allowed out",
            "allowed",
        ),
        // What cannot be seen is not let pass beside what is.
        (
            "policies: [{name: p, $me, allow: [{host: a.test, inspect: true}]}, {name: q, $me, allow: [{host: a.test, raw: true}]}]",
            "inspected",
            "allowed",
            "allowed",
        ),
        // A path that is denied is denied inside, and the tunnel opens.
        (
            "policies: [{name: p, $me, allow: [{host: a.test, inspect: true}], deny: [{host: a.test, paths: [/x]}]}]",
            "inspected",
            "denied_host",
            "allowed",
        ),
        // One that hides it does not.
        (
            "policies: [{name: p, $me, allow: [a.test], deny: [{host: a.test, paths: [/x]}]}]",
            "denied_host",
            "denied_host",
            "allowed",
        ),
        // A floor has it looked into that policies only name.
        (
            "clusterPolicies: [{name: f, $me, delegate: {allow: [{host: a.test, inspect: true, waf: floor}]}}], policies: [{name: p, $me, allow: [a.test]}]",
            "inspected floor",
            "allowed floor",
            "allowed floor",
        ),
        (
            "clusterPolicies: [{name: f, $me, delegate: {allow: [{host: a.test, inspect: true, paths: [/x]}]}}], policies: [{name: p, $me, allow: [{host: a.test, inspect: true, waf: out}]}]",
            "inspected out",
            "allowed out",
            "not_delegated",
        ),
    ] {
        assert_eq!(tunnel(policies), expected, "{policies}");
        assert_eq!(inside(policies, "/x/y"), below, "{policies}");
        assert_eq!(inside(policies, "/other"), elsewhere, "{policies}");
    }
}

#[test]
fn what_is_looked_into_is_tls_alone() {
    let egress = egress(
        "policies: [{name: p, $me, allow: [{host: a.test, inspect: true}, {host: a.test, ports: [80]}]}]",
    );
    let clear = Some(("GET", "/", false));
    assert_eq!(outcome(&egress, "a.test:443", clear), "request_not_allowed");
    assert_eq!(outcome(&egress, "a.test:80", clear), "allowed");
    assert_eq!(outcome(&egress, "a.test:80", None), "allowed");
    assert_eq!(outcome(&egress, "a.test:443", None), "inspected");
}

#[test]
fn no_mode_lets_pass_unseen_what_is_to_be_looked_into() {
    let client = client();
    for mode in [EgressMode::Report, EgressMode::Open] {
        for inspect in [false, true] {
            let name = format!("{mode:?}").to_lowercase();
            // The floor's denial of a path is left to be judged inside.
            let made = egress(&format!(
                "clusterPolicies: [{{name: f, $me, deny: [{{host: a.test, paths: [/x]}}]}}],
                 policies: [{{name: p, $me, mode: {name}, allow: [{{host: a.test, inspect: {inspect}}}]}}]"
            ));
            let selected = Selected::find(&made.cluster_policies, &made.policies, client);
            let selected = selected.expect("some");
            let authority = Authority::parse(b"a.test:443", None).expect("an authority");
            let request = Request {
                authority: &authority,
                http: None,
                now: SystemTime::now(),
            };
            let decision = decide(&selected, request, &made.cluster_ranges);
            assert_eq!(decision.inspected, inspect, "{name}");
            let faults = selected.beginnings(request, decision.inspected).faults;
            let expected = if inspect { EgressMode::Enforce } else { mode };
            assert_eq!(faults, expected, "{name} {inspect}");
        }
    }
}

#[test]
fn what_is_found_is_for_those_who_asked_and_the_strictest_of_them() {
    let client = client();
    for (policies, expected) in [
        // Whoever allows it first says nothing of what another asks for.
        (
            "policies: [{name: lax, $me, mode: report, allow: [a.test]}, {name: p, $me, allow: [{host: a.test, inspect: true, waf: out}]}]",
            &[("out", "p", EgressMode::Enforce)][..],
        ),
        (
            "policies: [{name: lax, $me, mode: report, allow: [{host: a.test, inspect: true, waf: out}]}, {name: p, $me, allow: [{host: a.test, inspect: true, waf: out}]}]",
            &[("out", "p", EgressMode::Enforce)],
        ),
        (
            "policies: [{name: p, $me, allow: [a.test]}, {name: lax, $me, mode: report, allow: [{host: a.test, inspect: true, waf: out}]}]",
            &[("out", "lax", EgressMode::Report)],
        ),
        // A floor acts in its own mode.
        (
            "clusterPolicies: [{name: f, $me, delegate: {allow: [{host: a.test, inspect: true, waf: floor}]}}],
             policies: [{name: lax, $me, mode: report, allow: [{host: a.test, inspect: true, waf: out}]}]",
            &[
                ("out", "lax", EgressMode::Report),
                ("floor", "f", EgressMode::Enforce),
            ],
        ),
    ] {
        let made = egress(policies);
        let selected = Selected::find(&made.cluster_policies, &made.policies, client);
        let authority = Authority::parse(b"a.test:443", None).expect("an authority");
        let request = Request {
            authority: &authority,
            http: Some(HttpRequest {
                method: "GET",
                overriding: None,
                path: "/",
                tls: true,
            }),
            now: SystemTime::now(),
        };
        let decision = decide(&selected.expect("some"), request, &made.cluster_ranges);
        let wanted = decision.inspections();
        let found = Wanted::each(&wanted, |inspection| inspection.waf.as_ref());
        let found: Vec<_> = found
            .into_iter()
            .map(|(waf, by)| (waf.as_str(), &*by.policy, by.mode))
            .collect();
        assert_eq!(found, expected, "{policies}");
        for (_, by) in Wanted::each(&wanted, |inspection| inspection.waf.as_ref()) {
            let refused = by.objection("waf_blocked");
            let is_final = by.mode == EgressMode::Enforce;
            assert_eq!(refused.is_final(), is_final, "{policies}");
        }
    }
}

/// The reason of what is refused of an entry of a policy, or what allows it.
fn of_request(policies: &str, method: &str, overriding: Option<&str>, path: &str) -> String {
    let made = egress(policies);
    let client = client();
    let selected = Selected::find(&made.cluster_policies, &made.policies, client);
    let authority = Authority::parse(b"a.test:443", None).expect("an authority");
    let request = Request {
        authority: &authority,
        http: Some(HttpRequest {
            method,
            overriding,
            path,
            tls: true,
        }),
        now: SystemTime::now(),
    };
    let decision = decide(&selected.expect("some"), request, &made.cluster_ranges);
    decision
        .refused
        .map_or("allowed", |refused| refused.reason)
        .into()
}

#[test]
fn a_method_that_a_field_asks_for_is_decided_on_too() {
    let allow =
        "policies: [{name: p, $me, allow: [{host: a.test, inspect: true, methods: [GET, POST]}]}]";
    let deny = "clusterPolicies: [{name: f, $me, deny: [{host: a.test, methods: [DELETE]}]}], policies: [{name: p, $me, allow: [{host: a.test, inspect: true}]}]";
    for (policies, method, overriding, expected) in [
        (allow, "POST", None, "allowed"),
        (allow, "POST", Some("get"), "allowed"),
        (allow, "POST", Some("DELETE"), "request_not_allowed"),
        (allow, "DELETE", Some("POST"), "request_not_allowed"),
        (deny, "POST", None, "allowed"),
        (deny, "POST", Some("PUT"), "allowed"),
        (deny, "POST", Some("delete"), "denied_host"),
        (deny, "DELETE", Some("POST"), "denied_host"),
    ] {
        let found = of_request(policies, method, overriding, "/");
        assert_eq!(found, expected, "{policies} {method} {overriding:?}");
    }
}

#[test]
fn a_path_that_is_denied_is_so_however_an_origin_may_read_it() {
    let of = |denied: &str, path: &str| {
        let policies = format!(
            "clusterPolicies: [{{name: f, $me, deny: [{{host: a.test, paths: [{denied}]}}]}}], policies: [{{name: p, $me, allow: [{{host: a.test, inspect: true}}]}}]"
        );
        of_request(&policies, "GET", None, path)
    };
    for (denied, path) in [
        ("/@acme", "/%40acme/x"),
        ("/v1/x:setIamPolicy", "/v1/x%3AsetIamPolicy"),
        ("/admin", "/admin;x/users"),
        ("/admin", "/;x/admin"),
        ("/admin", "/admin%3Bx/users"),
        ("/repos/acme", "/repos/ACME"),
        ("/Repos", "/repos/x"),
        ("/", "/x"),
    ] {
        assert_eq!(of(denied, path), "denied_host", "{denied} {path}");
    }
    for (denied, path) in [
        ("/admin", "/administrators"),
        ("/admin", "/x/admin"),
        ("/@acme", "/acme"),
    ] {
        assert_eq!(of(denied, path), "allowed", "{denied} {path}");
    }
    // What allows takes a path as it is written alone.
    let policies =
        "policies: [{name: p, $me, allow: [{host: a.test, inspect: true, paths: [/repos/acme]}]}]";
    for path in ["/repos/ACME", "/repos/acme;x", "/repos/%61cme%3Bx"] {
        let found = of_request(policies, "GET", None, path);
        assert_eq!(found, "request_not_allowed", "{path}");
    }
}

#[test]
fn no_mode_opens_unseen_what_a_floor_leaves_to_those_who_look() {
    let floor = |entry: &str| {
        format!("clusterPolicies: [{{name: f, $me, delegate: {{allow: [{{{entry}}}]}}}}]")
    };
    let looked_into = floor("host: a.test, inspect: true");
    let with_rules = floor("host: a.test, inspect: true, waf: floor");
    let inside = Some(("GET", "/out", true));
    for mode in ["report", "open"] {
        let nothing = format!("policies: [{{name: p, $me, mode: {mode}, allow: []}}]");
        let some = format!(
            "policies: [{{name: p, $me, mode: {mode}, allow: [{{host: a.test, inspect: true, paths: [/in]}}]}}]"
        );
        for (floor, policies, http, expected) in [
            (&looked_into, &nothing, None, "not_delegated"),
            (&with_rules, &nothing, None, "not_delegated"),
            (&looked_into, &some, None, "inspected"),
            // It is seen, and nothing more is asked for.
            (&looked_into, &some, inside, "request_not_allowed"),
            // Its rules would not be asked.
            (&with_rules, &some, inside, "not_delegated"),
        ] {
            let made = egress(&format!("{floor}, {policies}"));
            let found = outcome(&made, "a.test:443", http);
            assert_eq!(found, expected, "{floor} {policies} {http:?}");
        }
    }
}
