//! How the egress proxy looks into TLS.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::HeaderName;

use super::{report::Report, text};
use crate::{
    document::{self, Document, EgressEntry},
    egress::{Injection, Inspection},
    model::{EgressInspection, EgressTlsOrigination},
};

const DEFAULT_CERTIFICATES: u32 = 1000;
const DEFAULT_LIFETIME: Duration = Duration::from_secs(86_400);
/// A certificate is signed anew at half of its life, and clocks of clients differ by minutes.
const MIN_LIFETIME: Duration = Duration::from_secs(600);
/// Clients take no certificate for long that cannot be revoked.
const MAX_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
const DEFAULT_STREAMS: u32 = 100;

/// The section.
pub(super) fn inspection(
    wanted: Option<&document::EgressInspection>,
    report: &mut Report<'_>,
) -> Option<EgressInspection> {
    let wanted = wanted?;
    let mut file = |field: &str, name: &str| -> PathBuf {
        let place = format!("egress.inspection.{field}");
        if name.is_empty() {
            report.error(&place, "a file is missing");
        }
        report.origins().resolve(&place, name)
    };
    let certificate = file("certificate", &wanted.certificate);
    let key = file("key", &wanted.key);
    let trust = wanted.trust.as_ref().map(|name| file("trust", name));
    for (field, number) in [
        ("maxCertificates", wanted.max_certificates),
        ("maxStreams", wanted.max_streams),
    ] {
        if number == Some(0) {
            report.error(
                format!("egress.inspection.{field}"),
                format!("{field} must be more than 0"),
            );
        }
    }
    let lifetime = wanted.certificate_lifetime.map(|lifetime| lifetime.0);
    if lifetime.is_some_and(|lifetime| !(MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime)) {
        report.error(
            "egress.inspection.certificateLifetime",
            "certificateLifetime is from 10m to 90d",
        );
    }
    Some(EgressInspection {
        certificate,
        key,
        trust,
        max_certificates: wanted.max_certificates.unwrap_or(DEFAULT_CERTIFICATES),
        certificate_lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME),
        max_streams: wanted.max_streams.unwrap_or(DEFAULT_STREAMS),
    })
}

/// How requests in clear are sent over TLS.
pub(super) fn tls_origination(
    section: &document::Egress,
    inspection: Option<&EgressInspection>,
    report: &mut Report<'_>,
) -> EgressTlsOrigination {
    let place = "egress.tlsOrigination.trust";
    let wanted = section.tls_origination.as_ref();
    let own = wanted.and_then(|wanted| wanted.trust.as_ref()).map(|name| {
        if name.is_empty() {
            report.error(place, "a file is missing");
        }
        report.origins().resolve(place, name)
    });
    EgressTlsOrigination {
        trust: own.or_else(|| inspection?.trust.clone()),
    }
}

/// The ports of an entry that names none: what is looked into is TLS, and so is what is originated.
pub(super) fn default_ports<'p>(entry: &document::EgressRule, otherwise: &'p [u16]) -> &'p [u16] {
    const TLS: [u16; 1] = [443];
    match is_about_tls(entry) && !otherwise.is_empty() {
        true => &TLS,
        false => otherwise,
    }
}

fn is_about_tls(entry: &document::EgressRule) -> bool {
    entry.inspect || entry.originate_tls
}

/// What requests are looked into for that an entry allows.
pub(super) fn of_entry(
    path: &str,
    entry: &document::EgressRule,
    report: &mut Report<'_>,
) -> Option<Arc<Inspection>> {
    let inject = entry
        .inject
        .as_ref()
        .map(|wanted| injection(&format!("{path}.inject"), wanted, report));
    let looks = entry.inspect || entry.originate_tls && (entry.waf.is_some() || inject.is_some());
    looks.then(|| {
        Arc::new(Inspection {
            waf: entry.waf.clone(),
            inject: inject.flatten(),
        })
    })
}

fn injection(
    path: &str,
    wanted: &document::EgressInjection,
    report: &mut Report<'_>,
) -> Option<Injection> {
    let header = report.ok(&format!("{path}.header"), carrier(&wanted.header));
    let place = format!("{path}.value");
    if wanted.value.is_empty() {
        report.error(&place, "a file is missing");
    }
    let place_of_prefix = format!("{path}.prefix");
    let prefix = report.ok(&place_of_prefix, text::header_value(&wanted.prefix));
    prefix?;
    Some(Injection {
        header: header?,
        value: report.origins().resolve(&place, &wanted.value),
        prefix: wanted.prefix.clone(),
        client_credential: wanted.client_credential.unwrap_or_default(),
    })
}

/// The name of a header that may carry a credential.
fn carrier(name: &str) -> Result<HeaderName, String> {
    let name = text::changeable_header(name)?;
    let is_of_message = matches!(
        name.as_str(),
        "content-encoding" | "content-type" | "expect" | "http2-settings" | "proxy-authorization"
    );
    match is_of_message {
        true => Err(format!("{name} carries no credential for a destination")),
        false => Ok(name),
    }
}

/// Judges what entries ask for.
pub(super) fn check(section: &document::Egress, document: &Document, report: &mut Report<'_>) {
    let lists = [
        ("clusterPolicies", &section.cluster_policies),
        ("policies", &section.policies),
    ];
    for (list, policies) in lists {
        for (index, policy) in policies.iter().enumerate() {
            let place = format!("egress.{list}[{index}]");
            let left = policy.delegate.as_ref();
            let left = left.and_then(|delegate| delegate.allow.as_ref());
            for (entries, kind) in [
                (Some(&policy.allow), Kind::Allow),
                (left, Kind::Delegate),
                (Some(&policy.deny), Kind::Deny),
            ] {
                for (index, entry) in entries.into_iter().flatten().enumerate() {
                    if let EgressEntry::Rule(rule) = entry {
                        let place = format!("{place}.{}[{index}]", kind.name());
                        check_entry(&place, rule, kind, (section, document), report);
                    }
                }
            }
        }
    }
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Allow,
    /// What a floor leaves to policies: with `inspect` it leaves that which is looked into, with
    /// `originateTls` plain requests that are sent over TLS.
    Delegate,
    Deny,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Delegate => "delegate.allow",
            Self::Deny => "deny",
        }
    }
}

fn check_entry(
    path: &str,
    entry: &document::EgressRule,
    kind: Kind,
    (section, document): (&document::Egress, &Document),
    report: &mut Report<'_>,
) {
    if !is_about_tls(entry) {
        for (field, is_there) in [
            ("waf", entry.waf.is_some()),
            ("inject", entry.inject.is_some()),
        ] {
            if is_there {
                report.error_hint(
                    format!("{path}.{field}"),
                    format!(
                        "`{field}` is about requests that leave inside TLS, and none is seen there"
                    ),
                    "add `inspect: true` for tunnels, or `originateTls: true` for plain requests",
                );
            }
        }
        return;
    }
    let field = match entry.inspect {
        true => "inspect",
        false => "originateTls",
    };
    let place = format!("{path}.{field}");
    if kind == Kind::Deny {
        let told = match entry.inspect {
            true => "what is denied is not looked into",
            false => "what is denied is not sent, over TLS or otherwise",
        };
        report.error_hint(
            &place,
            told,
            format!("an entry of `deny` with `methods` or `paths` denies requests that are seen, as by an entry of `allow` with `{field}`"),
        );
        return;
    }
    if entry.inspect && section.inspection.is_none() {
        report.error_hint(
            &place,
            "TLS cannot be looked into without an authority that signs certificates",
            "add `egress.inspection` with its certificate and key",
        );
    }
    if entry.cidr.is_some() {
        report.error_hint(
            &place,
            format!("an entry with `cidr` cannot have `{field}`: the destination has no name to be verified"),
            "name the host",
        );
    }
    if entry.raw && entry.inspect {
        report.error(
            &place,
            "`raw` lets something other than TLS pass, and that cannot be looked into",
        );
    }
    if entry
        .ports
        .as_ref()
        .is_some_and(|ports| ports.contains(&80))
    {
        report.error_hint(
            format!("{path}.ports"),
            format!("port 80 is for requests in clear, and an entry with `{field}` is about TLS"),
            match entry.originate_tls {
                true => "leave it out: requests for port 80 are sent to port 443",
                false => "allow port 80 by an entry of its own, if that is meant",
            },
        );
    }
    if let Some(waf) = &entry.waf {
        let known = document.waf_profiles.iter().map(|profile| &*profile.name);
        if !known.clone().any(|known| known == waf) {
            let place = format!("{path}.waf");
            report.unknown(&place, "wafProfiles", "WAF profile", waf, known);
        }
    }
    if entry.inject.is_some() {
        if kind == Kind::Delegate {
            report.error(
                format!("{path}.inject"),
                "a credential stands with the entry that allows its destination",
            );
        }
        let is_wide = entry.regex.is_some()
            || entry
                .host
                .as_ref()
                .is_some_and(|host| host.starts_with("*."));
        if is_wide {
            report.warn_hint(
                format!("{path}.inject"),
                "the credential goes to every host that the entry names",
                "name one host, unless all of them may have it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        read::{SourceFile, read},
        validate::validate,
    };

    /// What is told of an egress section.
    fn told(section: &str) -> Vec<String> {
        let read = read(&[SourceFile {
            name: "a.yaml".into(),
            text: format!("egress: {{listeners: [{{name: p}}], {section}}}"),
        }]);
        let validated = validate(&read.document, &read.origins);
        let problems = read.problems.iter().chain(&validated.problems);
        problems.map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_out_of_bounds_is_told_with_its_place() {
        for (fields, says) in [
            (
                "certificate: '', key: b",
                "egress.inspection.certificate: a file is missing",
            ),
            (
                "certificate: a, key: ''",
                "egress.inspection.key: a file is missing",
            ),
            (
                "certificate: a, key: b, trust: ''",
                "egress.inspection.trust: a file is missing",
            ),
            (
                "certificate: a, key: b, maxCertificates: 0",
                "maxCertificates must be more than 0",
            ),
            (
                "certificate: a, key: b, maxStreams: 0",
                "maxStreams must be more than 0",
            ),
            (
                "certificate: a, key: b, certificateLifetime: 9m",
                "certificateLifetime is from 10m",
            ),
            (
                "certificate: a, key: b, certificateLifetime: 91d",
                "certificateLifetime is from 10m",
            ),
        ] {
            let told = told(&format!("inspection: {{{fields}}}"));
            assert!(
                matches!(told.as_slice(), [one] if one.contains(says)),
                "{fields}: {told:?}"
            );
        }
        assert_eq!(told("inspection: {certificate: a, key: b}"), [""; 0]);
        let told = told("tlsOrigination: {trust: ''}");
        let says = "egress.tlsOrigination.trust: a file is missing";
        assert!(
            matches!(told.as_slice(), [one] if one.contains(says)),
            "{told:?}"
        );
    }

    /// What is told of an entry of a list, where there is an authority.
    fn told_of(list: &str, entry: &str) -> Vec<String> {
        told(&format!(
            "inspection: {{certificate: a, key: b}}, \
             policies: [{{name: p, subjects: [{{addresses: [10.0.0.0/8]}}], {list}: [{{{entry}}}]}}]"
        ))
    }

    #[test]
    fn entries_that_cannot_be_looked_into_are_refused_with_their_place() {
        let inject = "inject: {header: authorization, value: token}";
        for (list, entry, place, says) in [
            (
                "allow",
                "host: a.test, waf: w",
                "waf",
                "`waf` is about requests that leave inside TLS",
            ),
            (
                "allow",
                "host: a.test, inject: {header: a, value: b}",
                "inject",
                "inside TLS",
            ),
            (
                "allow",
                "cidr: 192.0.2.0/24, inspect: true",
                "inspect",
                "no name to be verified",
            ),
            (
                "allow",
                "host: a.test, inspect: true, raw: true",
                "inspect",
                "other than TLS",
            ),
            (
                "allow",
                "host: a.test, inspect: true, ports: [80]",
                "ports",
                "in clear",
            ),
            (
                "allow",
                "host: a.test, originateTls: true, ports: [80, 443]",
                "ports",
                "in clear",
            ),
            (
                "allow",
                "cidr: 192.0.2.0/24, originateTls: true",
                "originateTls",
                "no name to be verified",
            ),
            (
                "deny",
                "host: a.test, originateTls: true",
                "originateTls",
                "not sent",
            ),
            (
                "allow",
                "host: a.test, originateTls: true, waf: w",
                "waf",
                "no WAF profile \"w\"",
            ),
            (
                "allow",
                "host: a.test, inspect: true, waf: w",
                "waf",
                "no WAF profile \"w\"",
            ),
            (
                "deny",
                "host: a.test, inspect: true",
                "inspect",
                "not looked into",
            ),
            (
                "allow",
                "host: '*.a.test', inspect: true, inject: {header: a, value: b}",
                "inject",
                "every host",
            ),
            (
                "allow",
                "host: a.test, inspect: true, inject: {header: host, value: b}",
                "inject.header",
                "Host is changed",
            ),
            (
                "allow",
                "host: a.test, inspect: true, inject: {header: proxy-authorization, value: b}",
                "inject.header",
                "no credential for a destination",
            ),
            (
                "allow",
                "host: a.test, inspect: true, inject: {header: a, value: ''}",
                "inject.value",
                "a file is missing",
            ),
            (
                "allow",
                "host: a.test, inspect: true, inject: {header: a, value: b, prefix: \"a\\n\"}",
                "inject.prefix",
                "not a header value",
            ),
        ] {
            let told = told_of(list, entry);
            let place = format!("egress.policies[0].{list}[0].{place}: ");
            assert!(
                matches!(told.as_slice(), [one] if one.contains(&place) && one.contains(says)),
                "{entry}: {told:?}"
            );
        }
        let good = format!("host: a.test, inspect: true, methods: [GET], paths: [/x], {inject}");
        assert_eq!(told_of("allow", &good), [""; 0]);
        let without = told(&format!(
            "policies: [{{name: p, subjects: [{{addresses: [10.0.0.0/8]}}], allow: [{{{good}}}]}}]"
        ));
        assert!(
            matches!(without.as_slice(), [one]
                if one.contains("egress.policies[0].allow[0].inspect: ") && one.contains("authority")),
            "{without:?}"
        );
        let left = told(
            "inspection: {certificate: a, key: b}, clusterPolicies: [{name: p, \
             subjects: [{addresses: [10.0.0.0/8]}], delegate: {allow: [{host: a.test, inspect: true, \
             inject: {header: a, value: b}}]}}]",
        );
        assert!(
            matches!(left.as_slice(), [one]
                if one.contains("egress.clusterPolicies[0].delegate.allow[0].inject: ")),
            "{left:?}"
        );
    }
}
