//! What a rule does: forward or redirect.

use std::sync::Arc;

use super::{Names, backend::without_endpoints, report::Report, text};
use crate::{
    document,
    model::{Backend, HostPattern, Redirect},
};

const MAX_WEIGHT: u32 = 1_000_000;
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// The backends of a rule. One that is missing or has an error keeps its weight
/// and has no endpoints: its share of the requests gets 503.
pub(super) fn backends(
    path: &str,
    rule: &document::Rule,
    names: &Names,
    report: &mut Report<'_>,
) -> Vec<(Arc<Backend>, u32)> {
    let mut backends = Vec::new();
    for (index, wanted) in rule.backends.iter().enumerate() {
        let place = format!("{path}.backends[{index}]");
        let weight = wanted.weight.unwrap_or(1);
        if weight > MAX_WEIGHT {
            report.error(
                format!("{place}.weight"),
                format!("a weight is at most {MAX_WEIGHT}"),
            );
        }
        let found = match names.backends.get(&wanted.name) {
            Some(found) => found.clone(),
            None => {
                let known = names.backends.keys().map(String::as_str);
                let place = format!("{place}.name");
                report.unknown(&place, "backends", "backend", &wanted.name, known);
                None
            }
        };
        let backend = found.unwrap_or_else(|| without_endpoints(&wanted.name));
        backends.push((backend, weight.min(MAX_WEIGHT)));
    }
    backends
}

/// The redirect of a rule.
pub(super) fn redirect(
    path: &str,
    rule: &document::Rule,
    redirect: &document::Redirect,
    report: &mut Report<'_>,
) -> Redirect {
    if !rule.backends.is_empty() || rule.rewrite.is_some() {
        report.error(
            path,
            "a rule with a redirect asks no backend and rewrites nothing",
        );
    }
    let status = redirect.status.unwrap_or(302);
    if !REDIRECTS.contains(&status) {
        report.error(
            format!("{path}.status"),
            format!("{status} is not one of 301, 302, 303, 307, 308"),
        );
    }
    if redirect.port == Some(0) {
        report.error(format!("{path}.port"), "a port must be above 0");
    }
    if redirect.scheme.is_none()
        && redirect.host.is_none()
        && redirect.port.is_none()
        && redirect.path.is_none()
    {
        report.error(path, "a redirect that changes nothing would never end");
    }
    Redirect {
        scheme: redirect
            .scheme
            .as_deref()
            .and_then(|name| report.ok(&format!("{path}.scheme"), scheme(name))),
        host: redirect
            .host
            .as_deref()
            .and_then(|name| report.ok(&format!("{path}.host"), host(name))),
        port: redirect.port,
        path: redirect
            .path
            .as_deref()
            .and_then(|to| report.ok(&format!("{path}.path"), text::path(to))),
        status,
    }
}

fn scheme(name: &str) -> Result<&'static str, String> {
    match name {
        "http" => Ok("http"),
        "https" => Ok("https"),
        other => Err(format!("{other:?} is not http or https")),
    }
}

fn host(name: &str) -> Result<String, String> {
    match text::host_pattern(name)? {
        HostPattern::Exact(name) => Ok(name),
        HostPattern::Suffix(_) => Err(format!("{name:?} is a pattern, not a host")),
    }
}
