//! Entries that a policy allows and denies at once.

use super::{egress_unseen::covers, report::Report};
use crate::egress::{EgressPolicy, EgressRule, Target};

/// Pairs of entries that are compared; longer lists are not looked at, since it is but a hint.
const MAX_PAIRS: usize = 1 << 20;

/// Warns of an entry of `allow` that opens nothing, since one of `deny` has all of it.
///
/// Deny beats allow, whichever is the narrower: so an exception from a range that is denied is none.
pub(super) fn warn(path: &str, policy: &EgressPolicy, report: &mut Report<'_>) {
    let pairs = policy.allow.iter().count() * policy.deny.iter().count();
    if pairs > MAX_PAIRS {
        return;
    }
    for (index, rule) in policy.allow.iter().enumerate() {
        let mut deny = policy.deny.iter().enumerate();
        if let Some((place, deny)) = deny.find(|(_, deny)| has_all(deny, rule)) {
            report.warn_hint(
                format!("{path}.allow[{index}]"),
                format!(
                    "it opens nothing: deny[{place}], {}, has all of it, and deny beats allow",
                    deny.text
                ),
                "take out one of them",
            );
        }
    }
}

/// Whether an entry of `deny` denies, now and later, all that another allows.
fn has_all(deny: &EgressRule, allow: &EgressRule) -> bool {
    let has_ports = deny.ports.is_empty() || allow.ports.iter().all(|port| deny.has_port(*port));
    let has_target = match (&deny.target, &allow.target) {
        (Target::Network(wide), Target::Network(narrow)) => wide.contains(narrow),
        (wide, narrow) => covers(wide, deny, narrow),
    };
    has_ports && has_target && !deny.is_about_requests() && deny.until.is_none()
}

#[cfg(test)]
mod tests {
    use crate::{
        read::{SourceFile, read},
        validate::validate,
    };

    fn told(allow: &str, deny: &str) -> Vec<String> {
        let read = read(&[SourceFile {
            name: "a.yaml".into(),
            text: format!(
                "egress: {{listeners: [{{name: p}}], policies: [{{name: p, \
                 subjects: [{{addresses: [10.0.0.0/8]}}], allow: [{allow}], deny: [{deny}]}}]}}"
            ),
        }]);
        let validated = validate(&read.document, &read.origins);
        let problems = read.problems.iter().chain(&validated.problems);
        problems.map(ToString::to_string).collect()
    }

    #[test]
    fn an_entry_that_is_denied_whole_is_told() {
        let address = "{cidr: 93.184.215.14/32}";
        for (allow, deny) in [
            (address, address),
            (address, "{cidr: 93.184.215.0/24}"),
            ("a.b.test", "a.b.test"),
            ("a.b.test", "'*.b.test'"),
            ("'*.a.b.test'", "'*.b.test'"),
            (
                "{host: a.b.test, ports: [22]}",
                "{host: a.b.test, ports: [22, 443]}",
            ),
        ] {
            let told = told(allow, deny);
            let expected = "egress.policies[0].allow[0]: it opens nothing: deny[0], ";
            assert!(
                matches!(told.as_slice(), [one] if one.contains(expected)),
                "{allow} {deny}: {told:?}"
            );
        }
        for (allow, deny) in [
            ("{cidr: 93.184.215.0/24}", address),
            ("'*.b.test'", "a.b.test"),
            ("a.b.test", "{host: a.b.test, ports: [80]}"),
            ("a.b.test", "{host: a.b.test, methods: [POST]}"),
            (
                "a.b.test",
                "{host: a.b.test, until: '2999-01-01T00:00:00Z'}",
            ),
            ("b.test", "'*.b.test'"),
        ] {
            assert_eq!(told(allow, deny), [""; 0], "{allow} {deny}");
        }
    }
}
