//! Authentications by a server that is asked.

use std::time::Duration;

use http::{HeaderName, Method, header};

use super::{Known, action::refuse_tcp_backend, policy::resolve, report::Report, text};
use crate::{
    access::SignIn,
    document,
    model::{AnswerCache, AnswerKey, Backend, External},
    route::canonical_host,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_CACHE_TIME: Duration = Duration::from_secs(300);
const DEFAULT_CACHE_ENTRIES: u32 = 10_000;

pub(super) fn external(
    path: &str,
    wanted: &document::ExternalAuthentication,
    backends: &Known<Backend>,
    report: &mut Report<'_>,
) -> External {
    let list = ("backends", "backend");
    let place = format!("{path}.backend");
    // The problem is noted where the backend is missing; one with an error has its own.
    match resolve(&place, list, &wanted.backend, backends, report) {
        Ok(backend) => refuse_tcp_backend(&place, &backend, report),
        Err(_) => report.give_up(),
    }
    report.ok(&format!("{path}.path"), target(&wanted.path));
    let host = wanted.host.as_ref().and_then(|host| {
        let judged = canonical_host(host)
            .map_err(|reason| format!("{host:?} is not a host: {reason}"))
            .and_then(|_| text::header_value(host));
        report.ok(&format!("{path}.host"), judged)
    });
    let method = wanted.method.as_deref().unwrap_or("GET");
    let method = report.ok(&format!("{path}.method"), text::method(method));
    if matches!(method, Some(Method::CONNECT | Method::TRACE)) {
        report.error(
            format!("{path}.method"),
            "a question is not asked by CONNECT or TRACE",
        );
    }
    let sign_in = wanted.sign_in.as_ref().and_then(|sign_in| {
        let place = format!("{path}.signIn");
        let sign_in = report.ok(&place, SignIn::parse(sign_in))?;
        if !sign_in.comes_back() {
            let reason = "the page is not told what was asked for, and cannot lead back to it; \
                add it, as `?rd={url}` for oauth2-proxy";
            report.warn(place, reason);
        }
        Some(sign_in)
    });
    let user_header = wanted
        .user_header
        .as_ref()
        .and_then(|name| report.ok(&format!("{path}.userHeader"), text::header_name(name)));
    if wanted.timeout.is_some_and(|time| time.0.is_zero()) {
        report.error(format!("{path}.timeout"), "a timeout must be more than 0");
    }
    let request_headers = wanted.request_headers.as_ref().map(|names| {
        let place = format!("{path}.requestHeaders");
        headers(&place, names, text::changeable_header, report)
    });
    let cache = wanted
        .cache
        .as_ref()
        .map(|cache| self::cache(&format!("{path}.cache"), cache, &request_headers, report));
    External {
        backend: wanted.backend.clone(),
        path: wanted.path.clone(),
        host,
        method: method.unwrap_or_default(),
        request_headers,
        response_headers: headers(
            &format!("{path}.responseHeaders"),
            &wanted.response_headers,
            text::identity_header,
            report,
        ),
        user_header,
        sign_in,
        timeout: wanted.timeout.map_or(DEFAULT_TIMEOUT, |time| time.0),
        cache,
    }
}

fn cache(
    path: &str,
    wanted: &document::AnswerCache,
    sent: &Option<Vec<HeaderName>>,
    report: &mut Report<'_>,
) -> AnswerCache {
    if wanted.time.is_some_and(|time| time.0.is_zero()) {
        report.error_hint(
            format!("{path}.time"),
            "a time must be more than 0",
            "remove `cache` to remember nothing",
        );
    }
    if wanted.max_entries == Some(0) {
        report.error(
            format!("{path}.maxEntries"),
            "maxEntries must be at least 1",
        );
    }
    let key = wanted.key.clone().unwrap_or_default();
    let key_headers = key.headers.as_ref().map(|names| {
        let place = format!("{path}.key.headers");
        headers(&place, names, text::header_name, report)
    });
    let is_sent = |name: &HeaderName| sent.as_ref().is_none_or(|sent| sent.contains(name));
    if let Some(names) = &key_headers {
        // What one client sent would let in another.
        for credential in [header::AUTHORIZATION, header::COOKIE] {
            if names.is_empty() || names.contains(&credential) || !is_sent(&credential) {
                continue;
            }
            report.warn(
                format!("{path}.key.headers"),
                format!(
                    "{credential} is sent with the question and is not in the key: \
                     clients that differ in it share an answer"
                ),
            );
        }
        if names.is_empty() {
            report.error_hint(
                format!("{path}.key.headers"),
                "without a header in the key one client's answer lets others in",
                "name those with credentials, as [Authorization, Cookie]",
            );
        }
    }
    AnswerCache {
        time: wanted.time.map_or(DEFAULT_CACHE_TIME, |time| time.0),
        refused_time: wanted.refused_time.map_or(Duration::ZERO, |time| time.0),
        key: AnswerKey {
            headers: key_headers,
            method: key.method.unwrap_or(true),
            host: key.host.unwrap_or(true),
            path: key.path.unwrap_or(true),
            client: key.client.unwrap_or(true),
        },
        max_entries: wanted.max_entries.unwrap_or(DEFAULT_CACHE_ENTRIES),
    }
}

fn headers(
    path: &str,
    names: &[String],
    parse: fn(&str) -> Result<HeaderName, String>,
    report: &mut Report<'_>,
) -> Vec<HeaderName> {
    let mut found: Vec<HeaderName> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let place = format!("{path}[{index}]");
        let Some(name) = report.ok(&place, parse(name)) else {
            continue;
        };
        match found.contains(&name) {
            true => report.warn(place, "the header stands twice; its case does not matter"),
            false => found.push(name),
        }
    }
    found
}

/// Judges a path with a query.
pub(super) fn target(text: &str) -> Result<(), String> {
    let not = |reason: &str| Err(format!("{text:?} is not a path: {reason}"));
    if text.contains("://") && !text.starts_with('/') {
        return not("it is a URL; the host is `host`, and where it is asked is `backend`");
    }
    if !text.starts_with('/') {
        return not("it must start with /");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['#', '<', '>', '"']) {
        return not("it has characters that must be escaped");
    }
    Ok(())
}
