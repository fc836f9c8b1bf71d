//! What several policies say together.

use std::{net::IpAddr, time::SystemTime};

use super::*;
use crate::{
    document::EgressMode,
    model::Egress,
    read::{SourceFile, read},
    validate::validate,
};

/// A client of which nothing is known but its address.
pub(super) fn client() -> Client<'static> {
    Client {
        address: IpAddr::from([10, 0, 0, 1]),
        identity: None,
        labels: None,
        certificate: None,
    }
}

/// An egress section; its policies are about 10.0.0.0/8 unless they say otherwise.
pub(super) fn egress(text: &str) -> Egress {
    let text = text.replace("$me", "subjects: [{addresses: [10.0.0.0/8]}]");
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: format!("egress: {{listeners: [{{name: p}}], {text}}}"),
    }]);
    let validated = validate(&read.document, &read.origins);
    let problems: Vec<_> = read.problems.iter().chain(&validated.problems).collect();
    assert!(problems.is_empty(), "{text}: {problems:?}");
    validated.model.egress.expect("the section")
}

fn request<'a>(authority: &'a Authority, http: Option<(&'a str, &'a str)>) -> Request<'a> {
    Request {
        authority,
        http: http.map(|(method, path)| HttpRequest {
            method,
            overriding: None,
            path,
            tls: false,
        }),
        now: SystemTime::now(),
    }
}

/// What becomes of a request: the verdict, its reason, and the policy and entry that decided.
fn outcome(egress: &Egress, target: &str, addresses: &[&str]) -> String {
    let client = client();
    let Some(selected) = Selected::find(&egress.cluster_policies, &egress.policies, client) else {
        return "no_policy".into();
    };
    let authority = Authority::parse(target.as_bytes(), None).expect("an authority");
    let request = request(&authority, None);
    let ranges = &egress.cluster_ranges;
    let mut decision = decide(&selected, request, ranges);
    let mut refused = decision.refused.clone();
    if !refused.as_ref().is_some_and(Refused::is_final) {
        let addresses: Vec<IpAddr> = addresses
            .iter()
            .map(|ip| ip.parse().expect("one"))
            .collect();
        let judged = judge_addresses(&selected, &mut decision, request, &addresses, ranges);
        refused = judged.or(refused);
    }
    let named = |policy: &str, rule: Option<&str>| format!("{policy}/{}", rule.unwrap_or("-"));
    match (refused, decision.grants.first()) {
        (Some(refused), _) => {
            let verdict = match (refused.is_final(), refused.mode) {
                (true, _) => "deny",
                (false, EgressMode::Open) => "open",
                (false, _) => "would_deny",
            };
            let place = named(
                refused.policy.as_deref().unwrap_or("-"),
                refused.rule.as_deref(),
            );
            format!("{verdict} {} {place}", refused.reason)
        }
        (None, Some(grant)) => {
            let raw = if decision.is_raw() { " raw" } else { "" };
            format!("allow {}{raw}", named(&grant.policy, grant.rule.as_deref()))
        }
        (None, None) => panic!("neither allowed nor refused"),
    }
}

#[test]
fn several_policies_allow_together_and_each_denies() {
    let egress = egress(
        "policies: [
          {name: a, $me, allow: [a.test, both.test, '*.in.test'], deny: [c.test, {cidr: 198.51.101.0/24}]},
          {name: b, $me, allow: [b.test, both.test, c.test, {regex: 'r[0-9]'}, {host: x.in.test, private: true, ports: [443, 5432]},
                                 {host: db.test, raw: true}, {host: p.test, ports: [81]}, {host: old.test, methods: [GET]}]},
          {name: other, subjects: [{addresses: [192.0.2.0/24]}], allow: [d.test], deny: [a.test]}]",
    );
    let public = &["93.184.216.34"][..];
    for (target, addresses, expected) in [
        ("a.test:443", public, "allow a/a.test"),
        ("b.test:443", public, "allow b/b.test"),
        ("both.test:443", public, "allow a/both.test"),
        ("c.test:443", public, "deny denied_host a/c.test"),
        ("d.test:443", public, "deny not_allowed a/-"),
        ("db.test:443", public, "allow b/db.test raw"),
        ("p.test:443", public, "deny port_not_allowed b/p.test"),
        (
            "old.test:443",
            public,
            "deny request_not_allowed b/old.test",
        ),
        ("93.184.216.34:443", public, "deny ip_literal a/-"),
        ("169.254.169.254:443", public, "deny always_blocked -/-"),
        // A suffix is whole labels, and a regular expression a whole name.
        ("a.b.in.test:443", public, "allow a/*.in.test"),
        ("in.test:443", public, "deny not_allowed a/-"),
        ("plain.test:443", public, "deny not_allowed a/-"),
        ("r7:443", public, "allow b/r[0-9]"),
        ("xr7:443", public, "deny not_allowed a/-"),
        ("r7x:443", public, "deny not_allowed a/-"),
        // An entry of another policy opens what the wider one does not.
        ("x.in.test:443", &["10.9.9.9"], "allow b/x.in.test"),
        ("x.in.test:443", public, "allow a/*.in.test"),
        ("x.in.test:5432", public, "allow b/x.in.test"),
        (
            "y.in.test:443",
            &["10.9.9.9"],
            "deny private_address a/*.in.test",
        ),
        (
            "x.in.test:443",
            &["10.9.9.9", "93.184.216.34"],
            "deny mixed_answer a/*.in.test",
        ),
        (
            "b.test:443",
            &["198.51.101.7"],
            "deny denied_address a/198.51.101.0/24",
        ),
        ("b.test:443", &["127.0.0.1"], "deny always_blocked -/-"),
        // One of several answers is enough.
        (
            "b.test:443",
            &["93.184.216.34", "198.51.101.7"],
            "deny denied_address a/198.51.101.0/24",
        ),
        (
            "x.in.test:443",
            &["10.9.9.9", "127.0.0.1"],
            "deny always_blocked -/-",
        ),
        ("localhost:443", public, "deny always_blocked -/-"),
        ("cloudflare-ech.com:443", public, "deny ech_public_name -/-"),
    ] {
        assert_eq!(
            outcome(&egress, target, addresses),
            expected,
            "{target} {addresses:?}"
        );
    }
}

#[test]
fn names_of_this_machine_of_metadata_and_of_providers_are_reached_by_nobody() {
    let everything = egress("policies: [{name: p, $me, mode: open, allowAll: true}]");
    for (name, reason) in [
        ("localhost", "always_blocked"),
        ("a.localhost", "always_blocked"),
        ("metadata", "always_blocked"),
        ("metadata.google.internal", "always_blocked"),
        ("metadata.goog", "always_blocked"),
        ("instance-data", "always_blocked"),
        ("instance-data.ec2.internal", "always_blocked"),
        ("cloudflare-ech.com", "ech_public_name"),
        ("public.tls-ech.dev", "ech_public_name"),
        ("cover.defo.ie", "ech_public_name"),
    ] {
        let told = outcome(&everything, &format!("{name}:443"), &["93.184.216.34"]);
        assert_eq!(told, format!("deny {reason} -/-"), "{name}");
    }
    // Whom no policy selects reaches nothing.
    let other =
        egress("policies: [{name: p, subjects: [{addresses: [192.0.2.0/24]}], allowAll: true}]");
    assert_eq!(
        outcome(&other, "a.test:443", &["93.184.216.34"]),
        "no_policy"
    );
}

#[test]
fn each_denial_has_the_mode_of_its_policy_and_the_rest_the_strictest() {
    let egress = |modes: [&str; 2]| {
        egress(&format!(
            "policies: [
              {{name: a, $me, mode: {}, allow: [a.test], deny: [no-a.test, both.test]}},
              {{name: b, $me, mode: {}, allow: [b.test, no-a.test], deny: [no-b.test, both.test]}}]",
            modes[0], modes[1]
        ))
    };
    for (modes, target, expected) in [
        (["enforce", "report"], "a.test:443", "allow a/a.test"),
        (["enforce", "report"], "b.test:443", "allow b/b.test"),
        (["enforce", "report"], "z.test:443", "deny not_allowed a/-"),
        (["report", "enforce"], "z.test:443", "deny not_allowed b/-"),
        (
            ["enforce", "report"],
            "no-a.test:443",
            "deny denied_host a/no-a.test",
        ),
        (
            ["report", "enforce"],
            "no-a.test:443",
            "would_deny denied_host a/no-a.test",
        ),
        (
            ["enforce", "report"],
            "no-b.test:443",
            "deny not_allowed a/-",
        ),
        (
            ["report", "open"],
            "no-b.test:443",
            "would_deny not_allowed a/-",
        ),
        (
            ["open", "report"],
            "both.test:443",
            "would_deny denied_host b/both.test",
        ),
        (
            ["report", "open"],
            "z.test:443",
            "would_deny not_allowed a/-",
        ),
        (["open", "open"], "z.test:443", "open not_allowed a/-"),
        (
            ["open", "open"],
            "no-a.test:443",
            "open denied_host a/no-a.test",
        ),
        (["open", "open"], "localhost:443", "deny always_blocked -/-"),
    ] {
        let made = egress(modes);
        let found = outcome(&made, target, &["93.184.216.34"]);
        assert_eq!(found, expected, "{modes:?} {target}");
    }
    for (modes, expected) in [
        (["report", "enforce"], "deny private_address a/a.test"),
        (["report", "open"], "would_deny private_address a/a.test"),
    ] {
        let made = egress(modes);
        assert_eq!(
            outcome(&made, "a.test:443", &["10.1.1.1"]),
            expected,
            "{modes:?}"
        );
    }
}

#[test]
fn a_floor_is_not_loosened_and_leaves_what_it_says() {
    let egress = egress(
        "clusterPolicies: [
          {name: floor, $me, allow: [mirror.test], deny: ['*.paste.test', {cidr: 198.51.101.0/24}],
           delegate: {allow: ['*.corp.test', {host: db.corp.test, private: true, raw: true, until: '2099-01-01T00:00:00Z'},
                              {regex: '.*\\\\.paste\\\\.test'}, {host: get.test, methods: [GET]}],
                      modes: [enforce]}},
          {name: trial, $me, mode: report, deny: [tried.corp.test]}],
         policies: [
          {name: team, $me, mode: open, allowAll: true, allow: [x.paste.test, other.test, get.test,
             {host: db.corp.test, private: true, raw: true}, {host: api.corp.test, private: true, raw: true}, tried.corp.test]}]",
    );
    let public = &["93.184.216.34"][..];
    for (target, addresses, expected) in [
        ("mirror.test:443", public, "allow floor/mirror.test"),
        (
            "x.paste.test:443",
            public,
            "deny denied_host floor/*.paste.test",
        ),
        (
            "other.test:443",
            public,
            "deny not_delegated floor/other.test",
        ),
        ("unlisted.test:443", public, "deny not_delegated floor/-"),
        ("get.test:80", public, "deny not_delegated floor/get.test"),
        ("unlisted.corp.test:443", public, "allow team/-"),
        (
            "db.corp.test:443",
            &["10.3.3.3"],
            "allow team/db.corp.test raw",
        ),
        ("api.corp.test:443", public, "allow team/api.corp.test"),
        (
            "api.corp.test:443",
            &["10.3.3.3"],
            "deny private_address team/api.corp.test",
        ),
        (
            "api.corp.test:443",
            &["198.51.101.1"],
            "deny denied_address floor/198.51.101.0/24",
        ),
        (
            "tried.corp.test:443",
            public,
            "would_deny denied_host trial/tried.corp.test",
        ),
        // Its mode is not left to it.
        ("93.184.216.34:443", public, "deny ip_literal team/-"),
    ] {
        assert_eq!(
            outcome(&egress, target, addresses),
            expected,
            "{target} {addresses:?}"
        );
    }
    let client = client();
    let until = |target: &str, raw: bool| {
        let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
        let authority = Authority::parse(target.as_bytes(), None).expect("an authority");
        let request = request(&authority, None);
        let mut decision = decide(&selected.expect("some"), request, &egress.cluster_ranges);
        if raw {
            decision.keep_raw();
        }
        decision.until()
    };
    assert_eq!(until("api.corp.test:443", false), None);
    // Of the two that leave it the one with an end leaves it as raw.
    assert_eq!(until("db.corp.test:443", false), None);
    assert!(until("db.corp.test:443", true).is_some());
}

#[test]
fn no_other_floor_and_no_mode_opens_what_a_floor_does_not_leave() {
    let of = |floors: &str, team: &str| {
        egress(&format!(
            "clusterPolicies: [{floors}], policies: [{{name: team, $me, {team}}}]"
        ))
    };
    let corp = "delegate: {allow: ['*.corp.test']}";
    let floor = format!("{{name: floor, $me, {corp}}}");
    let public = &["93.184.216.34"][..];
    let private = &["10.3.3.3"][..];
    for (floors, team, target, addresses, expected) in [
        // One that is tried beside it, in either order.
        (
            format!("{{name: trial, $me, mode: report, delegate: {{allow: [x.test]}}}}, {floor}"),
            "allow: [evil.test]",
            "evil.test:443",
            public,
            "deny not_delegated floor/evil.test",
        ),
        (
            format!("{floor}, {{name: trial, $me, mode: report, delegate: {{allow: [x.test]}}}}"),
            "allow: [evil.test]",
            "evil.test:443",
            public,
            "deny not_delegated floor/evil.test",
        ),
        // Modes, where no entry names it.
        (floor.clone(), "mode: open", "evil.test:443", public, "deny not_delegated floor/-"),
        (floor.clone(), "mode: report", "evil.test:443", public, "deny not_delegated floor/-"),
        (floor.clone(), "mode: report", "a.corp.test:443", public, "would_deny not_allowed team/-"),
        (floor.clone(), "mode: open", "a.corp.test:443", private, "deny private_address team/-"),
        (
            "{name: floor, $me, delegate: {allow: [{host: '*.corp.test', private: true}]}}".into(),
            "mode: open",
            "a.corp.test:443",
            private,
            "open private_address team/-",
        ),
        // One that is tried takes nothing away.
        (
            format!("{{name: trial, $me, mode: report, {corp}}}"),
            "allow: [{host: db.test, private: true, raw: true}]",
            "db.test:443",
            private,
            "would_deny not_delegated trial/db.test",
        ),
        // What no one entry leaves is not put together from two.
        (
            "{name: floor, $me, delegate: {allow: [{host: h.test, raw: true}, {host: h.test, private: true}]}}".into(),
            "allow: [{host: h.test, private: true, raw: true}]",
            "h.test:443",
            private,
            "allow team/h.test",
        ),
    ] {
        let found = outcome(&of(&floors, team), target, addresses);
        assert_eq!(found, expected, "{floors} {team} {target} {addresses:?}");
    }
    // What comes in a tunnel as well.
    let client = client();
    for (raw, expected) in [(false, EgressMode::Enforce), (true, EgressMode::Open)] {
        let floor =
            format!("{{name: floor, $me, delegate: {{allow: [{{host: a.test, raw: {raw}}}]}}}}");
        let made = of(&floor, "mode: open");
        let selected = Selected::find(&made.cluster_policies, &made.policies, client);
        let authority = Authority::parse(b"a.test:443", None).expect("an authority");
        let beginnings = selected
            .expect("some")
            .beginnings(request(&authority, None), false);
        assert_eq!(beginnings.faults, expected, "{raw}");
    }
}

#[test]
fn an_address_in_another_is_denied_as_well() {
    let egress = egress(
        "policies: [{name: p, $me, allow: [{host: a.test, private: true}], deny: [{cidr: 10.0.0.0/24}]}]",
    );
    for (address, expected) in [
        ("10.0.0.5", "deny denied_address p/10.0.0.0/24"),
        ("::ffff:10.0.0.5", "deny denied_address p/10.0.0.0/24"),
        ("64:ff9b::a00:5", "deny denied_address p/10.0.0.0/24"),
        ("2002:a00:5::1", "deny denied_address p/10.0.0.0/24"),
        ("64:ff9b::a00:105", "allow p/a.test"),
    ] {
        assert_eq!(
            outcome(&egress, "a.test:443", &[address]),
            expected,
            "{address}"
        );
    }
}

#[test]
fn what_ends_later_counts_and_a_floor_ends_sooner() {
    let egress = egress(
        "clusterPolicies: [{name: floor, $me, delegate: {allow: [{host: a.test, until: '2097-01-01T00:00:00Z'}, b.test]}}],
         policies: [{name: p, $me, allow: [{host: a.test, until: '2098-01-01T00:00:00Z'}, {host: b.test, until: '2098-01-01T00:00:00Z'}]},
                    {name: q, $me, allow: [a.test, {host: b.test, until: '2099-01-01T00:00:00Z'}]}]",
    );
    let client = client();
    for (target, year) in [("a.test:443", 2097), ("b.test:443", 2099)] {
        let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
        let authority = Authority::parse(target.as_bytes(), None).expect("an authority");
        let request = request(&authority, None);
        let decision = decide(&selected.expect("some"), request, &egress.cluster_ranges);
        let until = decision.until().expect("an end");
        let years = until
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after")
            .as_secs()
            / 31_556_952;
        assert_eq!(1970 + years, year, "{target}");
    }
}

#[test]
fn a_floor_alone_refuses_what_it_does_not_allow() {
    for (mode, expected) in [
        ("enforce", "deny not_allowed floor/-"),
        ("report", "would_deny not_allowed floor/-"),
    ] {
        let egress = egress(&format!(
            "clusterPolicies: [{{name: floor, $me, mode: {mode}, allow: [a.test]}}]"
        ));
        assert_eq!(outcome(&egress, "b.test:443", &["93.184.216.34"]), expected);
        assert_eq!(
            outcome(&egress, "a.test:443", &["93.184.216.34"]),
            "allow floor/a.test"
        );
    }
    // A floor that is tried does not open what a policy keeps closed, nor does it close by itself.
    let tried = egress(
        "clusterPolicies: [{name: floor, $me, mode: report, deny: [a.test]}],
         policies: [{name: p, $me, allow: [a.test]}]",
    );
    assert_eq!(
        outcome(&tried, "b.test:443", &["93.184.216.34"]),
        "deny not_allowed p/-"
    );
    assert_eq!(
        outcome(&tried, "a.test:443", &["93.184.216.34"]),
        "would_deny denied_host floor/a.test"
    );
}

#[test]
fn a_closed_policy_lets_nothing_pass_whatever_others_say() {
    let open = "mode: open, allow: [a.test], allowAll: true";
    let public = &["93.184.216.34"][..];
    for (cluster, policies) in [
        (
            "",
            format!("[{{name: team, $me, {open}}}, {{name: shut, $me, closed: true}}]"),
        ),
        ("", format!("[{{name: shut, $me, closed: true, {open}}}]")),
        (
            "clusterPolicies: [{name: shut, $me, closed: true, mode: report}],",
            format!("[{{name: team, $me, {open}}}]"),
        ),
    ] {
        let egress = egress(&format!("{cluster} policies: {policies}"));
        for target in ["a.test:443", "b.test:443", "93.184.216.34:443"] {
            let told = outcome(&egress, target, public);
            assert_eq!(told, "deny policy_closed shut/-", "{cluster} {policies}");
        }
    }
}
