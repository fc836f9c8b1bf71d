//! How the egress proxy looks into TLS.

use std::{path::PathBuf, time::Duration};

use super::report::Report;
use crate::{document, model::EgressInspection};

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
    }
}
