//! TLS settings of listeners and of hosts.

use std::collections::BTreeSet;

use super::{report::Report, text};
use crate::{
    document::{self, ClientCertificateHeader, ClientCertificateMode, Document},
    model::{
        ClientCertificates, ClientTrust, Listener, ListenerProtocol, TlsPolicy, TlsSettings,
        TlsVersion,
    },
};

/// Most intermediate certificates that the TLS library builds a chain of.
const MAX_DEPTH: u32 = 6;
const DEFAULT_DEPTH: u32 = 2;

const DEFAULT_HEADERS: [ClientCertificateHeader; 3] = [
    ClientCertificateHeader::SslClientVerify,
    ClientCertificateHeader::SslClientSubjectDn,
    ClientCertificateHeader::SslClientIssuerDn,
];

/// The settings of a listener.
pub(super) fn settings(
    path: &str,
    wanted: &document::ListenerTls,
    report: &mut Report<'_>,
) -> TlsSettings {
    let default = TlsSettings::default();
    let settings = TlsSettings {
        min_version: wanted.min_version.unwrap_or(default.min_version),
        max_version: wanted.max_version.unwrap_or(default.max_version),
        cipher_suites: list(
            &format!("{path}.cipherSuites"),
            wanted.cipher_suites.as_ref(),
            report,
        )
        .unwrap_or(default.cipher_suites),
        alpn: list(&format!("{path}.alpn"), wanted.alpn.as_ref(), report).unwrap_or(default.alpn),
        client_certificates: wanted.client_certificates.as_ref().and_then(|wanted| {
            client_certificates(&format!("{path}.clientCertificates"), wanted, report)
        }),
    };
    for (field, reason) in contradictions(&settings) {
        report.error(format!("{path}.{field}"), reason);
    }
    settings
}

/// The TLS policies, each with the hosts that no other one has.
pub(super) fn policies(
    document: &Document,
    listeners: &[Listener],
    report: &mut Report<'_>,
) -> Vec<TlsPolicy> {
    let mut policies: Vec<TlsPolicy> = Vec::new();
    for (index, wanted) in document.tls_policies.iter().enumerate() {
        let path = format!("tlsPolicies[{index}]");
        if policies.iter().any(|known| known.name == wanted.name) {
            let reason = format!("the name {:?} is taken", wanted.name);
            report.error(format!("{path}.name"), reason);
            continue;
        }
        text::name(&path, &wanted.name, report);
        text::listeners(&path, &wanted.listeners, document, report);
        let policy = policy(&path, wanted, report);
        for (at, host) in policy.hosts.iter().enumerate() {
            let other = policies
                .iter()
                .find(|other| other.hosts.contains(host) && shares_listener(other, &policy));
            if let Some(other) = other {
                report.error(
                    format!("{path}.hosts[{at}]"),
                    format!("{host} is a host of TLS policy {:?} already", other.name),
                );
            }
        }
        let mut told = BTreeSet::new();
        for listener in listeners.iter().filter(|listener| {
            listener.protocol == ListenerProtocol::Https && policy.holds_on(&listener.name)
        }) {
            for (field, reason) in contradictions(&policy.over(&listener.tls.settings)) {
                if told.insert(field) {
                    report.error(&path, format!("on listener {:?}: {reason}", listener.name));
                }
            }
        }
        policies.push(policy);
    }
    policies
}

fn policy(path: &str, wanted: &document::TlsPolicy, report: &mut Report<'_>) -> TlsPolicy {
    if wanted.hosts.is_empty() {
        report.error_hint(
            format!("{path}.hosts"),
            "a TLS policy without hosts",
            "name them; what holds for all others is set under `tls:` of the listener",
        );
    }
    TlsPolicy {
        name: wanted.name.clone(),
        listeners: wanted.listeners.clone(),
        hosts: text::hosts(path, &wanted.hosts, report),
        min_version: wanted.min_version,
        max_version: wanted.max_version,
        cipher_suites: list(
            &format!("{path}.cipherSuites"),
            wanted.cipher_suites.as_ref(),
            report,
        ),
        alpn: list(&format!("{path}.alpn"), wanted.alpn.as_ref(), report),
        client_certificates: wanted.client_certificates.as_ref().map(|wanted| {
            client_certificates(&format!("{path}.clientCertificates"), wanted, report)
        }),
    }
}

fn shares_listener(one: &TlsPolicy, other: &TlsPolicy) -> bool {
    one.listeners.is_empty()
        || other.listeners.is_empty()
        || one.listeners.iter().any(|name| other.holds_on(name))
}

/// What cannot hold together, by the field that is named.
fn contradictions(settings: &TlsSettings) -> Vec<(&'static str, String)> {
    let name = |version: TlsVersion| match version {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    };
    let (min, max) = (settings.min_version, settings.max_version);
    if min > max {
        let reason = format!("minVersion {} is above maxVersion {}", name(min), name(max));
        return vec![("minVersion", reason)];
    }
    let without = |version: TlsVersion| {
        let wanted = min <= version && version <= max;
        wanted
            && !settings
                .cipher_suites
                .iter()
                .any(|suite| suite.version() == version)
    };
    [
        (TlsVersion::V1_2, "minVersion: \"1.3\""),
        (TlsVersion::V1_3, "maxVersion: \"1.2\""),
    ]
    .into_iter()
    .filter(|(version, _)| without(*version))
    .map(|(version, remedy)| {
        let version = name(version);
        let reason = format!(
            "no cipher suite is for TLS {version}, which is accepted; add one, or write {remedy}"
        );
        ("cipherSuites", reason)
    })
    .collect()
}

/// A list that is in force where it stands: not empty, each item once.
fn list<T: Copy + PartialEq>(
    path: &str,
    wanted: Option<&Vec<T>>,
    report: &mut Report<'_>,
) -> Option<Vec<T>> {
    let wanted = wanted?;
    if wanted.is_empty() {
        report.error_hint(
            path,
            "an empty list leaves nothing to agree on",
            "leave it out for the default",
        );
    }
    let mut items: Vec<T> = Vec::new();
    for (index, item) in wanted.iter().enumerate() {
        match items.contains(item) {
            true => report.warn(format!("{path}[{index}]"), "it stands twice"),
            false => items.push(*item),
        }
    }
    Some(items)
}

fn client_certificates(
    path: &str,
    wanted: &document::ClientCertificates,
    report: &mut Report<'_>,
) -> Option<ClientCertificates> {
    let mut file = |field: &str, file: &Option<String>| {
        let file = file.as_ref()?;
        let place = format!("{path}.{field}");
        if file.is_empty() {
            report.error(&place, "a file is missing");
        }
        Some(report.origins().resolve(&place, file))
    };
    let (ca, crl) = (file("ca", &wanted.ca), file("crl", &wanted.crl));
    if wanted.mode == ClientCertificateMode::Unverified {
        return Some(unverified(path, wanted, report));
    }
    if wanted.mode == ClientCertificateMode::None {
        let others = [
            ("ca", ca.is_some()),
            ("crl", crl.is_some()),
            ("maxDepth", wanted.max_depth.is_some()),
            ("headers", wanted.headers.is_some()),
        ];
        for (field, _) in others.into_iter().filter(|(_, is_there)| *is_there) {
            report.error_hint(
                format!("{path}.{field}"),
                "with `mode: none` no certificate is asked for",
                "did you mean `mode: required`?",
            );
        }
        return None;
    }
    let max_depth = wanted.max_depth.unwrap_or(DEFAULT_DEPTH);
    if max_depth > MAX_DEPTH {
        report.error(
            format!("{path}.maxDepth"),
            format!("maxDepth is at most {MAX_DEPTH}"),
        );
    }
    let Some(ca) = ca else {
        report.error_hint(
            path,
            "client certificates without the authorities that sign them",
            "name their file with `ca:`",
        );
        return None;
    };
    Some(ClientCertificates {
        required: wanted.mode == ClientCertificateMode::Required,
        trust: Some(ClientTrust { ca, crl, max_depth }),
        headers: headers(wanted),
    })
}

/// Certificates that nobody verifies.
fn unverified(
    path: &str,
    wanted: &document::ClientCertificates,
    report: &mut Report<'_>,
) -> ClientCertificates {
    let judging = [
        ("ca", wanted.ca.is_some()),
        ("crl", wanted.crl.is_some()),
        ("maxDepth", wanted.max_depth.is_some()),
    ];
    for (field, _) in judging.into_iter().filter(|(_, is_there)| *is_there) {
        report.error_hint(
            format!("{path}.{field}"),
            "with `mode: unverified` no certificate is judged",
            "did you mean `mode: optional`, where one that is shown must be good?",
        );
    }
    let told = headers(wanted);
    if !told.contains(&ClientCertificateHeader::SslClientVerify) {
        report.error_hint(
            format!("{path}.headers"),
            "with `mode: unverified` the backend must be told that nobody has verified the certificate",
            "add `ssl-client-verify`",
        );
    }
    if told.contains(&ClientCertificateHeader::XForwardedClientCert) {
        report.error_hint(
            format!("{path}.headers"),
            "`x-forwarded-client-cert` cannot say that nobody has verified the certificate",
            "`ssl-client-cert` has all of it",
        );
    }
    ClientCertificates {
        required: false,
        trust: None,
        headers: told,
    }
}

/// What the backend is told.
fn headers(wanted: &document::ClientCertificates) -> Vec<ClientCertificateHeader> {
    match &wanted.headers {
        Some(headers) => {
            let each_once: BTreeSet<_> = headers.iter().copied().collect();
            each_once.into_iter().collect()
        }
        None => DEFAULT_HEADERS.to_vec(),
    }
}
