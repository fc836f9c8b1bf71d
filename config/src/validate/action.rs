//! What a rule does: forward, redirect or respond.

use std::sync::Arc;

use super::{Names, backend::without_endpoints, report::Report, text};
use crate::{
    document,
    model::{Backend, HostPattern, Match, PathMatch, PathRewrite, Redirect, Respond},
};

const MAX_WEIGHT: u32 = 1_000_000;
/// Largest body of an answer that stands in the configuration.
const MAX_RESPOND_BYTES: usize = 64 << 10;
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// The backends of a rule. One that is missing or has an error keeps its weight
/// and has no endpoints: its share of the requests gets 503.
pub(super) fn backends(
    path: &str,
    wanted: &[document::RouteBackend],
    names: &Names,
    report: &mut Report<'_>,
) -> Vec<(Arc<Backend>, u32)> {
    let mut backends = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        let place = format!("{path}.backends[{index}]");
        let weight = wanted.weight.unwrap_or(1);
        if weight > MAX_WEIGHT {
            report.error(
                format!("{place}.weight"),
                format!("a weight is at most {MAX_WEIGHT}"),
            );
        }
        let backend = backend(&format!("{place}.name"), &wanted.name, names, report);
        backends.push((backend, weight.min(MAX_WEIGHT)));
    }
    backends
}

/// The backend of this name; one without endpoints where it is missing or has an error.
pub(super) fn backend(
    path: &str,
    name: &str,
    names: &Names,
    report: &mut Report<'_>,
) -> Arc<Backend> {
    let found = match names.backends.get(name) {
        Some(found) => found.clone(),
        None => {
            let known = names.backends.keys().map(String::as_str);
            report.unknown(path, "backends", "backend", name, known);
            None
        }
    };
    found.unwrap_or_else(|| without_endpoints(name))
}

/// Refuses a backend that only TCP routes can use.
pub(super) fn refuse_tcp_backend(path: &str, backend: &Backend, report: &mut Report<'_>) {
    if backend.proxy_protocol.is_some() {
        report.error_hint(
            path,
            format!(
                "backend {:?} has `proxyProtocol`, which is for TCP routes: one connection carries requests of many clients",
                backend.name
            ),
            "HTTP backends are told of the client in X-Forwarded-For; give the rule a backend of its own",
        );
    }
}

/// The redirect of a rule.
pub(super) fn redirect(
    path: &str,
    rule: &document::Rule,
    redirect: &document::Redirect,
    matches: &[Match],
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
        && redirect.prefix.is_none()
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
        path: path_rewrite(
            path,
            redirect.prefix.as_deref(),
            redirect.path.as_deref(),
            matches,
            report,
        ),
        status,
    }
}

/// The answer of a rule.
pub(super) fn respond(
    path: &str,
    rule: &document::Rule,
    respond: &document::Respond,
    report: &mut Report<'_>,
) -> Respond {
    if !rule.backends.is_empty() || rule.rewrite.is_some() || rule.redirect.is_some() {
        report.error(
            path,
            "a rule that responds asks no backend, and neither redirects nor rewrites",
        );
    }
    let status = respond.status.unwrap_or(200);
    if !(200..600).contains(&status) {
        report.error(
            format!("{path}.status"),
            format!("{status} is not from 200 to 599"),
        );
    }
    let body = respond.body.clone().unwrap_or_default();
    if body.len() > MAX_RESPOND_BYTES {
        report.error(
            format!("{path}.body"),
            format!("a body of {} bytes; 64 KiB is the most", body.len()),
        );
    }
    // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        report.error(
            format!("{path}.body"),
            format!("an answer of status {status} has no body"),
        );
    }
    let wanted = respond.content_type.as_deref();
    if wanted.is_some() && body.is_empty() {
        report.error(
            format!("{path}.contentType"),
            "a content type without a body",
        );
    }
    let content_type = (!body.is_empty()).then(|| wanted.unwrap_or("text/plain; charset=utf-8"));
    Respond {
        status,
        content_type: content_type.and_then(|wanted| {
            report.ok(&format!("{path}.contentType"), text::header_value(wanted))
        }),
        body,
    }
}

/// The new path of a redirect or a rewrite, of which only one may be given.
pub(super) fn path_rewrite(
    path: &str,
    prefix: Option<&str>,
    whole: Option<&str>,
    matches: &[Match],
    report: &mut Report<'_>,
) -> Option<PathRewrite> {
    let (place, whole) = match (prefix, whole) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            report.error(
                path,
                "either a prefix is replaced or the whole path, not both",
            );
            return None;
        }
        (Some(prefix), None) => {
            let place = format!("{path}.prefix");
            let is_prefix = |wanted: &Match| matches!(wanted.path, PathMatch::Prefix(_));
            if !matches.iter().all(is_prefix) {
                report.error_hint(
                    &place,
                    "a prefix is replaced only where all matches are prefixes",
                    "use `path:`, which may take groups of a regular expression",
                );
            }
            let prefix = report.ok(&place, text::path(prefix))?;
            return Some(PathRewrite::Prefix(text::without_slash(&prefix)));
        }
        (None, Some(whole)) => (format!("{path}.path"), whole),
    };
    let template = report.ok(&place, text::path_template(whole))?;
    for group in template.groups() {
        for wanted in matches {
            let PathMatch::Regex(regex) = &wanted.path else {
                report.error_hint(
                    &place,
                    format!(
                        "{group} stands for a group, and not every match is a regular expression"
                    ),
                    "write `$$` for a dollar sign",
                );
                return None;
            };
            if !group.is_in(regex) {
                // Without the anchors that were put around it.
                let pattern = &regex.as_str()[4..regex.as_str().len() - 2];
                report.error(&place, format!("{pattern:?} has no group {group}"));
                return None;
            }
        }
    }
    Some(PathRewrite::Whole(template))
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
