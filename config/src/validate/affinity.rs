//! What ties requests to endpoints: hashes, and affinity by a cookie.

use std::{fmt::Write, sync::Arc};

use super::{report::Report, text};
use crate::{
    document,
    model::{Affinity, Backend, Balance, Canary, HashKey, HostPattern, SameSite},
};

pub(super) fn balance(
    path: &str,
    wanted: Option<&document::Balance>,
    report: &mut Report<'_>,
) -> Balance {
    match wanted {
        None | Some(document::Balance::RoundRobin) => Balance::RoundRobin,
        Some(document::Balance::LeastRequests) => Balance::LeastRequests,
        Some(document::Balance::PeakEwma) => Balance::PeakEwma,
        Some(document::Balance::Hash(key)) => hash_key(&format!("{path}.hash"), key, report)
            .map_or(Balance::RoundRobin, Balance::Hash),
    }
}

fn hash_key(path: &str, key: &document::HashKey, report: &mut Report<'_>) -> Option<HashKey> {
    match key {
        document::HashKey::Header(name) => report
            .ok(&format!("{path}.header"), text::header_name(name))
            .map(HashKey::Header),
        document::HashKey::Cookie(name) => report
            .ok(
                &format!("{path}.cookie"),
                text::cookie_name(name).map(|()| name.clone()),
            )
            .map(HashKey::Cookie),
        document::HashKey::Address => Some(HashKey::Address),
        document::HashKey::Path => Some(HashKey::Path),
    }
}

pub(super) fn affinity(
    path: &str,
    wanted: &document::Affinity,
    report: &mut Report<'_>,
) -> Option<Affinity> {
    let place = |field: &str| format!("{path}.{field}");
    let cookie = report.ok(
        &place("cookie"),
        text::cookie_name(&wanted.cookie).map(|()| wanted.cookie.clone()),
    );
    let mut attributes = String::new();
    let cookie_path = wanted.path.as_deref().unwrap_or("/");
    if !cookie_path.starts_with('/') || !is_attribute(cookie_path) {
        report.error(
            place("path"),
            format!("{cookie_path:?} is not a path for a cookie: it must start with / and have no `;` and no blanks"),
        );
    }
    let _ = write!(attributes, "; Path={cookie_path}");
    if let Some(domain) = &wanted.domain {
        match text::host_pattern(domain.strip_prefix('.').unwrap_or(domain)) {
            Ok(HostPattern::Exact(domain)) => {
                let _ = write!(attributes, "; Domain={domain}");
            }
            Ok(HostPattern::Suffix(_)) => report.error_hint(
                place("domain"),
                format!("{domain:?} is a pattern, not a name"),
                "a cookie of a domain is sent to all names below it",
            ),
            Err(reason) => report.error(place("domain"), reason),
        }
    }
    if let Some(ttl) = wanted.ttl {
        if ttl.0.as_secs() == 0 || ttl.0.subsec_millis() != 0 {
            report.error_hint(
                place("ttl"),
                format!("a cookie lives for whole seconds, one or more, not for {ttl}"),
                "leave it out to have it forgotten with the session of the client",
            );
        }
        let _ = write!(attributes, "; Max-Age={}", ttl.0.as_secs());
    }
    if wanted.http_only.unwrap_or(true) {
        attributes.push_str("; HttpOnly");
    }
    let same_site = wanted.same_site.unwrap_or_default();
    attributes.push_str(match same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    });
    let secure = secure(path, wanted, same_site, cookie_path, report);
    let secret = wanted.secret.as_ref().map(|file| {
        if file.is_empty() {
            report.error(place("secret"), "a file is missing");
        }
        report.origins().resolve(&place("secret"), file)
    });
    Some(Affinity {
        cookie: cookie?,
        attributes,
        secure,
        secret,
    })
}

/// The cookie that keeps a client with one of a rule's backends.
pub(super) fn sticky(
    path: &str,
    rule: &document::Rule,
    backends: &[(Arc<Backend>, u32)],
    canary: Option<&Canary>,
    report: &mut Report<'_>,
) -> Option<Affinity> {
    let wanted = rule.sticky.as_ref()?;
    let path = format!("{path}.sticky");
    let sticky = affinity(&path, wanted, report)?;
    let canary = canary.map(|canary| &canary.backend);
    let all: Vec<_> = backends
        .iter()
        .map(|(backend, _)| backend)
        .chain(canary)
        .collect();
    if rule.redirect.is_some() || rule.respond.is_some() {
        report.error(
            &path,
            "a rule that answers by itself has no backend to stay with",
        );
    } else if all.len() < 2 {
        report.warn(
            &path,
            "there is one backend at most: every client stays with it anyway",
        );
    }
    for backend in all {
        let other = backend.affinity.as_ref();
        if other.is_some_and(|other| other.cookie == sticky.cookie) {
            let reason = format!(
                "the affinity of the backend {:?} has the cookie {:?} too",
                backend.name, sticky.cookie
            );
            report.error(format!("{path}.cookie"), reason);
        }
    }
    Some(sticky)
}

/// Judges what goes together with `Secure`: browsers drop a cookie that has one and
/// not the other.
fn secure(
    path: &str,
    wanted: &document::Affinity,
    same_site: SameSite,
    cookie_path: &str,
    report: &mut Report<'_>,
) -> Option<bool> {
    let place = format!("{path}.secure");
    let needed = match &wanted.cookie {
        _ if same_site == SameSite::None => Some("a cookie with `sameSite: none`"),
        name if name.starts_with("__Secure-") => Some("a cookie whose name begins with __Secure-"),
        name if name.starts_with("__Host-") => Some("a cookie whose name begins with __Host-"),
        _ => None,
    };
    if let Some(what) = needed
        && wanted.secure == Some(false)
    {
        report.error(
            place,
            format!("{what} is dropped by browsers where it is not secure"),
        );
    }
    if wanted.cookie.starts_with("__Host-") {
        if wanted.domain.is_some() {
            report.error(
                format!("{path}.domain"),
                "a cookie whose name begins with __Host- has no domain",
            );
        }
        if cookie_path != "/" {
            report.error(
                format!("{path}.path"),
                "a cookie whose name begins with __Host- has the path /",
            );
        }
    }
    wanted.secure.or_else(|| needed.map(|_| true))
}

fn is_attribute(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b';')
}
