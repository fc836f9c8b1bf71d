//! Routes and rules.

use std::{collections::HashSet, sync::Arc};

use http::HeaderValue;

use super::{
    Names, action, affinity, canary, condition, headers,
    made::{Items, backends_of},
    mirror,
    policy::{Level, inherit, level},
    repeats::{Place, Repeats},
    report::Report,
    text,
};
use crate::{
    document::{self, Document, ListenerProtocol},
    model::{Action, ErrorPages, Match, PathRewrite, Route, Rule, Satisfy},
    route::canonical_host,
};

/// What the rules of all routes share.
struct Context<'a> {
    document: &'a Document,
    names: &'a Names,
    defaults: Level,
    repeats: Repeats<'a>,
}

/// The routes, and the error pages of requests that none of them takes. Those of `before` stand
/// on the same ground.
pub(super) fn routes(
    document: &Document,
    names: &Names,
    (before, made): (
        Option<&Items<document::Route, Route>>,
        &mut Items<document::Route, Route>,
    ),
    report: &mut Report<'_>,
) -> (Vec<Arc<Route>>, Vec<Arc<ErrorPages>>) {
    let mut context = Context {
        document,
        names,
        defaults: match report.origins().is_incomplete("defaults") {
            true => Level::broken(),
            false => level("defaults", document.defaults.as_ref(), names, report),
        },
        repeats: Repeats::new(document),
    };
    let nothing = Items::default();
    let before = before.unwrap_or(&nothing);
    let is_still = |route: &Route| {
        backends_of(route).all(|backend| {
            let known = names.backends.get(&backend.name).and_then(Option::as_ref);
            known.is_some_and(|known| Arc::ptr_eq(known, backend))
        })
    };
    let mut taken = HashSet::new();
    let mut routes = Vec::new();
    for (index, route) in document.routes.iter().enumerate() {
        let path = format!("routes[{index}]");
        if !taken.insert(&route.name) {
            let reason = format!("the name {:?} is taken", route.name);
            report.error(format!("{path}.name"), reason);
            continue;
        }
        let mut is_known = true;
        let built = made.again(before, (&path, route), report, is_still, |report| {
            is_known = false;
            self::route((&path, index), route, &mut context, report).map(Arc::new)
        });
        if let Some(built) = built.as_ref().filter(|_| is_known) {
            context.repeats.note_all(index, built, report);
        }
        routes.extend(built);
    }
    let default_error_pages = context.defaults.error_pages.unwrap_or_default();
    (routes, default_error_pages)
}

fn route(
    (path, number): (&str, usize),
    route: &document::Route,
    context: &mut Context<'_>,
    report: &mut Report<'_>,
) -> Option<Route> {
    let named = text::name(path, &route.name, report);
    text::listeners(path, &route.listeners, context.document, report);
    refuse_other_listeners(path, route, context.document, report);
    let hosts = text::hosts(path, &route.hosts, report);
    if route.rules.is_empty() {
        report.error_hint(
            format!("{path}.rules"),
            "a route without rules",
            "add one, or remove the route",
        );
    }
    let policies = level(
        &format!("{path}.policies"),
        route.policies.as_deref(),
        context.names,
        report,
    );
    // A route all of whose hosts are wrong must not become one for every host.
    let nowhere = hosts.is_empty() && !route.hosts.is_empty();
    let mut rules = Vec::new();
    for (index, rule) in route.rules.iter().enumerate() {
        let path = format!("{path}.rules[{index}]");
        let matches = condition::matches(&path, rule, report);
        for (at, condition) in matches.iter().filter(|_| !nowhere) {
            let place = Place {
                route: number,
                rule: index,
                index: *at,
            };
            context.repeats.note(place, &hosts, condition, report);
        }
        let matches: Vec<Match> = matches.into_iter().map(|(_, wanted)| wanted).collect();
        let rule = self::rule(
            &path,
            (route, index),
            rule,
            &matches,
            &policies,
            context,
            report,
        );
        rules.push((matches, Arc::new(rule)));
    }
    (named && !nowhere).then(|| Route {
        name: route.name.clone(),
        listeners: route.listeners.clone(),
        hosts,
        single_label: route.single_label,
        rules,
    })
}

/// Refuses listeners that carry no requests.
fn refuse_other_listeners(
    path: &str,
    route: &document::Route,
    document: &Document,
    report: &mut Report<'_>,
) {
    for (index, name) in route.listeners.iter().enumerate() {
        let known = document.listeners.iter().find(|known| known.name == *name);
        let reason = match known.map(|known| known.protocol) {
            Some(ListenerProtocol::Tcp) => {
                format!("{name:?} is a tcp listener, whose connections take `tcpRoutes`")
            }
            Some(ListenerProtocol::Udp) => {
                format!("{name:?} is a udp listener, whose datagrams take `udpRoutes`")
            }
            _ => continue,
        };
        report.error_hint(
            format!("{path}.listeners[{index}]"),
            reason,
            "name an http or https listener",
        );
    }
}

/// One rule. With an error of its own, or without a security control that it
/// must have, it forwards nowhere.
fn rule(
    path: &str,
    (route, index): (&document::Route, usize),
    rule: &document::Rule,
    matches: &[Match],
    route_policies: &Level,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Rule {
    let own = level(
        &format!("{path}.policies"),
        rule.policies.as_deref(),
        context.names,
        report,
    );
    let (policies, complete) = inherit([&own, route_policies, &context.defaults]);
    if policies.satisfy == Satisfy::Any
        && !policies.authentication.is_empty()
        && policies.access.iter().all(|list| list.allow.is_none())
    {
        report.warn(
            path,
            "`satisfy: any` changes nothing here: no access list of this rule has `allow`",
        );
    }
    let backends = action::backends(path, &rule.backends, context.names, report);
    let canary = canary::canary(path, rule, context.names, report);
    let sticky = affinity::sticky(path, rule, &backends, canary.as_ref(), report);
    let mirrors = mirror::mirrors(path, rule, context.names, report);
    for (index, (backend, _)) in backends.iter().enumerate() {
        let place = format!("{path}.backends[{index}].name");
        action::refuse_tcp_backend(&place, backend, report);
    }
    let (mut compiled, clean) = report.counted(|report| {
        let action = match (&rule.redirect, &rule.respond) {
            (Some(redirect), None) => Action::Redirect(action::redirect(
                &format!("{path}.redirect"),
                rule,
                redirect,
                matches,
                report,
            )),
            (_, Some(respond)) => Action::Respond(action::respond(
                &format!("{path}.respond"),
                rule,
                respond,
                report,
            )),
            (None, None) => Action::Forward(backends),
        };
        let (rewrite_host, rewrite_path) = match &rule.rewrite {
            Some(rewrite) => self::rewrite(&format!("{path}.rewrite"), rewrite, matches, report),
            None => (None, None),
        };
        let mut changes = |field: &str, wanted: &Option<document::HeaderChanges>| {
            headers::changes(&format!("{path}.{field}"), wanted.as_ref(), report)
        };
        Rule {
            id: format!("{}/{index}", route.name),
            route: route.name.clone(),
            listeners: route.listeners.clone(),
            action,
            rewrite_host,
            rewrite_path,
            canary,
            sticky,
            mirrors,
            request_headers: changes("requestHeaders", &rule.request_headers),
            response_headers: changes("responseHeaders", &rule.response_headers),
            policies,
        }
    });
    if !clean || !complete {
        compiled.action = Action::Forward(Vec::new());
        compiled.canary = None;
        compiled.sticky = None;
        compiled.mirrors.clear();
    }
    compiled
}

fn rewrite(
    path: &str,
    rewrite: &document::Rewrite,
    matches: &[Match],
    report: &mut Report<'_>,
) -> (Option<HeaderValue>, Option<PathRewrite>) {
    let host = rewrite.host.as_ref().and_then(|host| {
        let judged = canonical_host(host)
            .map_err(|reason| format!("{host:?} is not a host: {reason}"))
            .and_then(|_| text::header_value(host));
        report.ok(&format!("{path}.host"), judged)
    });
    let to = action::path_rewrite(
        path,
        rewrite.prefix.as_deref(),
        rewrite.path.as_deref(),
        matches,
        report,
    );
    (host, to)
}
