//! Which certificates of clients a policy of the egress proxy is about.

use super::report::Report;
use crate::{
    document::{self, ClientCertificateMode},
    egress::{Certificates, SpiffeIds},
};

/// Whether clients of a listener are asked for a certificate.
pub(super) fn is_asked_for(listener: &document::EgressListener) -> bool {
    let wanted = listener.tls.as_ref();
    let wanted = wanted.and_then(|tls| tls.client_certificates.as_ref());
    wanted.is_some_and(|wanted| wanted.mode != ClientCertificateMode::None)
}

/// The certificates that a subject names, where it does.
pub(super) fn certificates(
    path: &str,
    subject: &document::EgressSubject,
    section: &document::Egress,
    report: &mut Report<'_>,
) -> Option<Certificates> {
    let (field, named) = match (&subject.spiffe_id, &subject.certificate_name) {
        (None, None) => return None,
        (Some(id), _) => {
            let ids = report.ok(&format!("{path}.spiffeId"), SpiffeIds::parse(id));
            ("spiffeId", ids.map(Certificates::Spiffe))
        }
        (None, Some(name)) => {
            if name.is_empty() || name.chars().any(char::is_control) {
                let place = format!("{path}.certificateName");
                report.error(place, format!("{name:?} is no common name"));
            }
            (
                "certificateName",
                Some(Certificates::CommonName(name.clone())),
            )
        }
    };
    if subject.spiffe_id.is_some() && subject.certificate_name.is_some() {
        report.error(
            format!("{path}.certificateName"),
            "it selects nobody: a certificate with a SPIFFE ID is known by that alone",
        );
    }
    if !section.listeners.iter().any(is_asked_for) {
        report.error_hint(
            format!("{path}.{field}"),
            "it selects nobody: no egress listener asks for certificates of clients",
            "say so under `tls.clientCertificates` of one",
        );
    }
    // Without one that is good a subject would select by what else it says.
    named.or_else(|| Some(Certificates::CommonName(String::new())))
}
