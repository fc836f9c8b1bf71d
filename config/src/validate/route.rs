//! Routes and rules.

use std::{collections::BTreeMap, sync::Arc};

use http::Method;

use super::{Names, policy::policies, report::Report, text};
use crate::{
    document::{self, Document},
    model::{
        Action, HeaderChanges, HeaderMatch, HeaderValueMatch, Match, PathMatch, Redirect, Route,
        Rule,
    },
};

const MAX_WEIGHT: u32 = 1_000_000;
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

pub(super) fn routes(document: &Document, names: &Names, report: &mut Report<'_>) -> Vec<Route> {
    document
        .routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| {
            self::route(&format!("routes[{index}]"), route, document, names, report)
        })
        .collect()
}

fn route(
    path: &str,
    route: &document::Route,
    document: &Document,
    names: &Names,
    report: &mut Report<'_>,
) -> Option<Route> {
    if !text::name(path, &route.name, report) {
        return None;
    }
    for (index, name) in route.listeners.iter().enumerate() {
        if !document.listeners.iter().any(|known| known.name == *name) {
            let known = document.listeners.iter().map(|known| known.name.as_str());
            report.unknown(
                &format!("{path}.listeners[{index}]"),
                "listeners",
                "listener",
                name,
                known,
            );
        }
    }
    let hosts: Vec<_> = route
        .hosts
        .iter()
        .enumerate()
        .filter_map(|(index, host)| {
            report.ok(&format!("{path}.hosts[{index}]"), text::host_pattern(host))
        })
        .collect();
    if route.rules.is_empty() {
        report.error_hint(
            format!("{path}.rules"),
            "a route without rules",
            "add one, or remove the route",
        );
    }
    // A route all of whose hosts are wrong must not become one for every host.
    if hosts.is_empty() && !route.hosts.is_empty() {
        return None;
    }
    let rules = route
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            self::rule(
                &format!("{path}.rules[{index}]"),
                path,
                index,
                rule,
                route,
                document,
                names,
                report,
            )
        })
        .collect();
    Some(Route {
        name: route.name.clone(),
        listeners: route.listeners.clone(),
        hosts,
        rules,
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "the rule, and the three levels its policies come from"
)]
fn rule(
    path: &str,
    route_path: &str,
    index: usize,
    rule: &document::Rule,
    route: &document::Route,
    document: &Document,
    names: &Names,
    report: &mut Report<'_>,
) -> (Vec<Match>, Arc<Rule>) {
    let matches = matches(path, rule, report);
    let mut levels = Vec::new();
    levels.extend(
        rule.policies
            .as_ref()
            .map(|level| (format!("{path}.policies"), level)),
    );
    levels.extend(
        route
            .policies
            .as_ref()
            .map(|level| (format!("{route_path}.policies"), level)),
    );
    levels.extend(
        document
            .defaults
            .as_ref()
            .map(|level| ("defaults".to_owned(), level)),
    );
    let (policies, complete) = policies(&levels, names, report);
    let action = match action(path, rule, names, report) {
        Action::Forward(_) if !complete => Action::Forward(Vec::new()),
        action => action,
    };
    let rewrite = rule.rewrite.as_ref();
    let rewrite_prefix = rewrite
        .and_then(|rewrite| rewrite.prefix.as_ref())
        .and_then(|prefix| {
            if !matches
                .iter()
                .all(|wanted| matches!(wanted.path, PathMatch::Prefix(_)))
            {
                report.error(
                    format!("{path}.rewrite.prefix"),
                    "a prefix is rewritten only where all matches are prefixes",
                );
            }
            report
                .ok(&format!("{path}.rewrite.prefix"), text::path(prefix))
                .map(|prefix| trim(&prefix))
        });
    let rewrite_host = rewrite
        .and_then(|rewrite| rewrite.host.as_ref())
        .and_then(|host| report.ok(&format!("{path}.rewrite.host"), text::header_value(host)));
    let compiled = Rule {
        id: format!("{}/{index}", route.name),
        route: route.name.clone(),
        action,
        rewrite_host,
        rewrite_prefix,
        request_headers: changes(
            &format!("{path}.requestHeaders"),
            rule.request_headers.as_ref(),
            report,
        ),
        response_headers: changes(
            &format!("{path}.responseHeaders"),
            rule.response_headers.as_ref(),
            report,
        ),
        policies,
    };
    (matches, Arc::new(compiled))
}

fn trim(prefix: &str) -> String {
    prefix.strip_suffix('/').unwrap_or(prefix).to_owned()
}

fn matches(path: &str, rule: &document::Rule, report: &mut Report<'_>) -> Vec<Match> {
    if rule.matches.is_empty() {
        return vec![Match {
            path: PathMatch::Prefix(String::new()),
            method: None,
            headers: Vec::new(),
        }];
    }
    let mut matches = Vec::new();
    for (index, wanted) in rule.matches.iter().enumerate() {
        let place = format!("{path}.matches[{index}]");
        // A match with an error matches nothing; without it the rule would match more.
        if let Some(compiled) = one_match(&place, wanted, report) {
            matches.push(compiled);
        }
    }
    matches
}

fn one_match(path: &str, wanted: &document::Match, report: &mut Report<'_>) -> Option<Match> {
    let path_match = match &wanted.path {
        None => Some(PathMatch::Prefix(String::new())),
        Some(document::PathMatch::Exact(exact)) => report
            .ok(&format!("{path}.path"), text::path(exact))
            .map(PathMatch::Exact),
        Some(document::PathMatch::Prefix(prefix)) => report
            .ok(&format!("{path}.path"), text::path(prefix))
            .map(|prefix| PathMatch::Prefix(trim(&prefix))),
        Some(document::PathMatch::Regex(pattern)) => report
            .ok(&format!("{path}.path"), text::whole_regex(pattern))
            .map(PathMatch::Regex),
    };
    let method = match &wanted.method {
        None => Some(None),
        Some(method) => {
            let parsed = Method::from_bytes(method.as_bytes())
                .ok()
                .filter(|_| !method.bytes().any(|byte| byte.is_ascii_lowercase()))
                .ok_or_else(|| {
                    format!("{method:?} is not a method; methods are written in capitals")
                });
            report.ok(&format!("{path}.method"), parsed).map(Some)
        }
    };
    let mut headers = Some(Vec::new());
    for (index, header) in wanted.headers.iter().enumerate() {
        match header_match(&format!("{path}.headers[{index}]"), header, report) {
            Some(header) => headers
                .iter_mut()
                .for_each(|headers| headers.push(header.clone())),
            None => headers = None,
        }
    }
    Some(Match {
        path: path_match?,
        method: method?,
        headers: headers?,
    })
}

fn header_match(
    path: &str,
    wanted: &document::HeaderMatch,
    report: &mut Report<'_>,
) -> Option<HeaderMatch> {
    let name = report.ok(&format!("{path}.name"), text::header_name(&wanted.name))?;
    let value = match (&wanted.exact, &wanted.regex, wanted.present) {
        (Some(exact), None, None) => HeaderValueMatch::Exact(exact.clone()),
        (None, Some(pattern), None) => HeaderValueMatch::Regex(
            report.ok(&format!("{path}.regex"), text::whole_regex(pattern))?,
        ),
        (None, None, Some(true)) => HeaderValueMatch::Present,
        (None, None, Some(false)) => HeaderValueMatch::Absent,
        _ => {
            report.error(path, "exactly one of exact, regex and present is expected");
            return None;
        }
    };
    Some(HeaderMatch { name, value })
}

fn action(path: &str, rule: &document::Rule, names: &Names, report: &mut Report<'_>) -> Action {
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
        match names.backends.get(&wanted.name) {
            Some(backend) => backends.push((Arc::clone(backend), weight)),
            None => {
                let known = names.backends.keys().map(String::as_str);
                report.unknown(
                    &format!("{place}.name"),
                    "backends",
                    "backend",
                    &wanted.name,
                    known,
                );
            }
        }
    }
    let Some(redirect) = &rule.redirect else {
        return Action::Forward(backends);
    };
    let place = format!("{path}.redirect");
    if !rule.backends.is_empty() || rule.rewrite.is_some() {
        report.error(
            &place,
            "a rule with a redirect asks no backend and rewrites nothing",
        );
    }
    let scheme = match redirect.scheme.as_deref() {
        None => None,
        Some("http") => Some("http"),
        Some("https") => Some("https"),
        Some(other) => {
            report.error(
                format!("{place}.scheme"),
                format!("{other:?} is not http or https"),
            );
            None
        }
    };
    let status = redirect.status.unwrap_or(302);
    if !REDIRECTS.contains(&status) {
        report.error(
            format!("{place}.status"),
            format!("{status} is not one of 301, 302, 303, 307, 308"),
        );
    }
    if redirect.port == Some(0) {
        report.error(format!("{place}.port"), "a port must be above 0");
    }
    if let Some(host) = &redirect.host {
        report.ok(&format!("{place}.host"), text::host_pattern(host));
    }
    if let Some(to) = &redirect.path {
        report.ok(&format!("{place}.path"), text::path(to));
    }
    if scheme.is_none()
        && redirect.host.is_none()
        && redirect.port.is_none()
        && redirect.path.is_none()
    {
        report.error(&place, "a redirect that changes nothing would never end");
    }
    Action::Redirect(Redirect {
        scheme,
        host: redirect.host.clone(),
        port: redirect.port,
        path: redirect.path.clone(),
        status,
    })
}

fn changes(
    path: &str,
    wanted: Option<&document::HeaderChanges>,
    report: &mut Report<'_>,
) -> HeaderChanges {
    let Some(wanted) = wanted else {
        return HeaderChanges::default();
    };
    let mut pairs = |field: &str, map: &BTreeMap<String, String>| {
        let mut parsed = Vec::new();
        for (name, value) in map {
            let place = format!("{path}.{field}.{name}");
            let name = report.ok(&place, text::changeable_header(name));
            let value = report.ok(&place, text::header_value(value));
            parsed.extend(name.zip(value));
        }
        parsed
    };
    let (set, add) = (pairs("set", &wanted.set), pairs("add", &wanted.add));
    let mut remove = Vec::new();
    for (index, name) in wanted.remove.iter().enumerate() {
        remove.extend(report.ok(
            &format!("{path}.remove[{index}]"),
            text::changeable_header(name),
        ));
    }
    HeaderChanges { remove, set, add }
}
