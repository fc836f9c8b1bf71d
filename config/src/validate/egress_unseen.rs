//! What a policy allows unseen beside what it has looked into.

use super::report::Report;
use crate::{
    egress::{EgressPolicy, EgressRule, Host, Target},
    model::HostPattern,
};

/// Warns of an entry by which requests go round what another entry of the policy looks at.
pub(super) fn warn(path: &str, policy: &EgressPolicy, report: &mut Report<'_>) {
    let looks = |rule: &&EgressRule| {
        let inspection = rule.inspection.as_ref();
        inspection.is_some_and(|inspection| inspection.waf.is_some() || rule.is_about_requests())
    };
    for (index, rule) in policy.allow.iter().enumerate() {
        if rule.inspection.is_some() {
            continue;
        }
        let mut seen = policy.allow.iter().filter(looks);
        if let Some(seen) = seen.find(|seen| goes_round(rule, seen)) {
            report.warn_hint(
                format!("{path}.allow[{index}]"),
                format!(
                    "all requests to {} are allowed by it: what another entry says of methods, paths or `waf` keeps nobody",
                    seen.text
                ),
                "leave the host to that entry",
            );
        }
    }
    if policy.allow_all
        && let Some(seen) = policy.allow.iter().find(looks)
        && seen.is_about_requests()
    {
        report.warn_hint(
            format!("{path}.allowAll"),
            format!(
                "the requests to {} that its entry does not name are allowed by it",
                seen.text
            ),
            "deny those that are not meant, by `deny` with `methods` or `paths`",
        );
    }
}

/// Whether an entry that does not look allows what another looks at.
fn goes_round(blind: &EgressRule, seen: &EgressRule) -> bool {
    let has_port = seen.ports.iter().any(|port| blind.has_port(*port));
    has_port && !blind.is_about_requests() && covers(&blind.target, blind, &seen.target)
}

/// Whether a target has all names of another. `rule` is that of `wide`.
pub(super) fn covers(wide: &Target, rule: &EgressRule, narrow: &Target) -> bool {
    match (wide, narrow) {
        (_, Target::Host(HostPattern::Exact(name))) => rule.names(&Host::Name(name.clone())),
        (Target::Host(HostPattern::Suffix(wide)), Target::Host(HostPattern::Suffix(narrow))) => {
            narrow == wide || narrow.ends_with(&format!(".{wide}"))
        }
        // Which names two expressions share nobody can tell.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        read::{SourceFile, read},
        validate::validate,
    };

    fn told(policy: &str) -> Vec<String> {
        let read = read(&[SourceFile {
            name: "a.yaml".into(),
            text: format!(
                "wafProfiles: [{{name: w}}]\negress: {{listeners: [{{name: p}}], inspection: {{certificate: a, key: b}}, \
                 policies: [{{name: p, subjects: [{{addresses: [10.0.0.0/8]}}], {policy}}}]}}"
            ),
        }]);
        let validated = validate(&read.document, &read.origins);
        let problems = read.problems.iter().chain(&validated.problems);
        problems.map(ToString::to_string).collect()
    }

    #[test]
    fn a_blind_entry_beside_one_that_looks_is_told() {
        let seen = "{host: a.b.test, inspect: true, paths: [/x]}";
        for (blind, place) in [
            ("a.b.test", "allow[1]"),
            ("'*.b.test'", "allow[1]"),
            ("{regex: '[a-z.]+'}", "allow[1]"),
            ("{host: a.b.test, ports: [443, 8443]}", "allow[1]"),
        ] {
            let told = told(&format!("allow: [{seen}, {blind}]"));
            let place = format!("egress.policies[0].{place}: ");
            assert!(
                matches!(told.as_slice(), [one] if one.contains(&place) && one.contains("a.b.test are allowed")),
                "{blind}: {told:?}"
            );
        }
        for other in [
            "b.test",
            "{host: a.b.test, ports: [80]}",
            "{host: a.b.test, ports: [80, 443], methods: [GET]}",
            "{host: a.b.test, inspect: true, paths: [/y]}",
        ] {
            assert_eq!(
                told(&format!("allow: [{seen}, {other}]")),
                [""; 0],
                "{other}"
            );
        }
        let plain = "{host: a.b.test, inspect: true}";
        assert_eq!(told(&format!("allow: [{plain}, a.b.test]")), [""; 0]);
        let with_rules = "{host: '*.b.test', inspect: true, waf: w}";
        assert_eq!(told(&format!("allow: [{with_rules}, '*.b.test']")).len(), 1);
        let told_of = told(&format!("allowAll: true, allow: [{seen}]"));
        assert!(
            matches!(told_of.as_slice(), [one] if one.contains("egress.policies[0].allowAll: ")),
            "{told_of:?}"
        );
    }
}
