//! TLS towards the endpoints of a backend.

use std::path::PathBuf;

use super::{report::Report, text};
use crate::{
    document,
    model::{BackendTls, HostPattern, SubjectAltName},
};

pub(super) fn upstream_tls(
    path: &str,
    tls: &document::BackendTls,
    report: &mut Report<'_>,
) -> Option<BackendTls> {
    let ca = file(path, "ca", tls.ca.as_ref(), report);
    let certificate = file(path, "certificate", tls.certificate.as_ref(), report);
    let key = file(path, "key", tls.key.as_ref(), report);
    match (&certificate, &key) {
        (Some(_), None) => report.error_hint(
            format!("{path}.certificate"),
            "a certificate without its key",
            "add `key:`",
        ),
        (None, Some(_)) => report.error_hint(
            format!("{path}.key"),
            "a key without its certificate",
            "add `certificate:`",
        ),
        _ => {}
    }
    let names = tls.subject_alt_names.as_deref();
    if names.is_some_and(<[String]>::is_empty) {
        report.error_hint(
            format!("{path}.subjectAltNames"),
            "no certificate has one of no names",
            "remove the key to look for `serverName`",
        );
    }
    let subject_alt_names = names
        .unwrap_or_default()
        .iter()
        .enumerate()
        .filter_map(|(index, name)| {
            report.ok(
                &format!("{path}.subjectAltNames[{index}]"),
                subject_alt_name(name),
            )
        })
        .collect();
    // An empty server name would turn verification off in many a TLS library.
    let place = format!("{path}.serverName");
    let HostPattern::Exact(server_name) =
        report.ok(&place, text::host_pattern(&tls.server_name))?
    else {
        report.error(
            place,
            format!("{:?} is a pattern, not a name", tls.server_name),
        );
        return None;
    };
    Some(BackendTls {
        server_name,
        ca,
        subject_alt_names,
        identity: certificate.zip(key),
    })
}

fn file(
    path: &str,
    field: &str,
    file: Option<&String>,
    report: &mut Report<'_>,
) -> Option<PathBuf> {
    let place = format!("{path}.{field}");
    let file = file?;
    if file.is_empty() {
        report.error(&place, "a file is missing");
    }
    Some(report.origins().resolve(&place, file))
}

fn subject_alt_name(text: &str) -> Result<SubjectAltName, String> {
    match text.split_once(':') {
        Some(("dns", name)) => match text::host_pattern(name)? {
            HostPattern::Exact(name) => Ok(SubjectAltName::Dns(name)),
            HostPattern::Suffix(_) => Err(format!(
                "{name:?} is a pattern, not a name; a certificate with a wildcard has the names that it covers"
            )),
        },
        Some(("uri", uri)) => {
            let plain = uri.bytes().all(|byte| byte.is_ascii_graphic());
            match uri.split_once("://") {
                Some((scheme, rest)) if plain && !scheme.is_empty() && !rest.is_empty() => {
                    Ok(SubjectAltName::Uri(uri.to_owned()))
                }
                _ => Err(format!(
                    "{uri:?} is not a URI, as spiffe://cluster.local/ns/shop/sa/web"
                )),
            }
        }
        _ => Err(format!(
            "{text:?} is not a name: write `dns:` or `uri:` before it, as in dns:shop.internal or uri:spiffe://cluster.local/ns/shop/sa/web"
        )),
    }
}
