//! TCP routes.

use std::time::Duration;

use super::{Names, action, policy, report::Report, text};
use crate::{
    document::{self, Document},
    model::{
        Backend, BackendProtocol, Balance, HashKey, HostPattern, Listener, ListenerProtocol,
        TcpRoute, TlsPolicy,
    },
};

const DEFAULT_MAX_CONNECTIONS: u32 = 10_000;
const DEFAULT_CONNECT: Duration = Duration::from_secs(5);
const DEFAULT_IDLE: Duration = Duration::from_secs(600);

pub(super) fn tcp_routes(
    document: &Document,
    listeners: &[Listener],
    policies: &[TlsPolicy],
    names: &Names,
    report: &mut Report<'_>,
) -> Vec<TcpRoute> {
    let mut routes: Vec<TcpRoute> = Vec::new();
    for (index, wanted) in document.tcp_routes.iter().enumerate() {
        let path = format!("tcpRoutes[{index}]");
        if routes.iter().any(|known| known.name == wanted.name) {
            let reason = format!("the name {:?} is taken", wanted.name);
            report.error(format!("{path}.name"), reason);
            continue;
        }
        text::name(&path, &wanted.name, report);
        judge_listeners(&path, wanted, document, report);
        let route = route(&path, wanted, names, report);
        // A route all of whose hosts are wrong must not become one for every connection.
        if route.hosts.is_empty() && !wanted.hosts.is_empty() {
            continue;
        }
        let named = !wanted.listeners.is_empty();
        if !named && !listeners.iter().any(|known| route.holds_on(known)) {
            let kind = if route.hosts.is_empty() {
                "a tcp"
            } else {
                "an https"
            };
            report.warn(
                &path,
                format!(
                    "the route takes no connections: it is for {kind} listener, and there is none"
                ),
            );
        }
        judge_rivals(&path, &route, &routes, policies, listeners, report);
        routes.push(route);
    }
    warn_of_hidden_hosts(document, &routes, policies, listeners, report);
    for (index, listener) in document.listeners.iter().enumerate() {
        let known = listeners.iter().find(|known| known.name == listener.name);
        let Some(known) = known.filter(|known| known.protocol == ListenerProtocol::Tcp) else {
            continue;
        };
        let is_taken = routes.iter().any(|route| route.holds_on(known));
        if !is_taken && !report.origins().is_incomplete("tcpRoutes") {
            report.error_hint(
                format!("listeners[{index}]"),
                "a tcp listener without a route: every connection would be closed",
                "add one under `tcpRoutes:`, without hosts",
            );
        }
    }
    routes
}

fn route(
    path: &str,
    wanted: &document::TcpRoute,
    names: &Names,
    report: &mut Report<'_>,
) -> TcpRoute {
    let hosts = text::hosts(path, &wanted.hosts, report);
    let access = policy::access(
        &format!("{path}.access"),
        &wanted.access,
        &names.access_lists,
        report,
    );
    let mut backends = action::backends(path, &wanted.backends, names, report);
    for (index, (backend, _)) in backends.iter().enumerate() {
        let place = format!("{path}.backends[{index}].name");
        refuse_choice_by_requests(&place, "a TCP route", backend, report);
        if backend.tls.is_some() || backend.protocol == BackendProtocol::Http2 {
            report.error_hint(
                place,
                format!(
                    "a TCP route passes bytes on as they are, and backend {:?} has `tls` or `protocol: http2`",
                    backend.name
                ),
                "give the route a backend of its own",
            );
        }
    }
    if wanted.max_connections == Some(0) {
        report.error(
            format!("{path}.maxConnections"),
            "maxConnections must be more than 0",
        );
    }
    let times = wanted.timeouts.clone().unwrap_or_default();
    let mut time = |field: &str, time: Option<document::Duration>, default: Duration| {
        if time.is_some_and(|time| time.0.is_zero()) {
            let place = format!("{path}.timeouts.{field}");
            report.error(place, "a timeout must be more than 0");
        }
        time.map_or(default, |time| time.0)
    };
    if access.is_none() {
        // Without a control that it must have it forwards nowhere.
        backends.clear();
    }
    TcpRoute {
        name: wanted.name.clone(),
        listeners: wanted.listeners.clone(),
        hosts,
        access: access.unwrap_or_default(),
        max_connections: wanted.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS),
        connect: time("connect", times.connect, DEFAULT_CONNECT),
        idle: time("idle", times.idle, DEFAULT_IDLE),
        backends,
    }
}

/// Refuses a backend that chooses by what only requests have.
pub(super) fn refuse_choice_by_requests(
    place: &str,
    route: &str,
    backend: &Backend,
    report: &mut Report<'_>,
) {
    let reads_requests = matches!(&backend.balance, Balance::Hash(key) if *key != HashKey::Address);
    if reads_requests || backend.affinity.is_some() {
        report.error_hint(
            place,
            format!(
                "{route} reads no requests, and backend {:?} chooses an endpoint by them",
                backend.name
            ),
            "`balance: {hash: address}` keeps a client at its endpoint",
        );
    }
}

/// Judges the listeners that a route names.
fn judge_listeners(
    path: &str,
    wanted: &document::TcpRoute,
    document: &Document,
    report: &mut Report<'_>,
) {
    text::listeners(path, &wanted.listeners, document, report);
    for (index, name) in wanted.listeners.iter().enumerate() {
        let place = format!("{path}.listeners[{index}]");
        let known = document.listeners.iter().find(|known| known.name == *name);
        let Some(listener) = known else { continue };
        match (listener.protocol, wanted.hosts.is_empty()) {
            (ListenerProtocol::Http, _) => report.error_hint(
                place,
                format!("{name:?} is an http listener, whose requests take `routes`"),
                "a TCP route has an https listener and `hosts`, or a tcp listener",
            ),
            (ListenerProtocol::Udp, _) => report.error_hint(
                place,
                format!("{name:?} is a udp listener, whose datagrams take `udpRoutes`"),
                "a TCP route has an https listener and `hosts`, or a tcp listener",
            ),
            (ListenerProtocol::Https, true) => report.error_hint(
                place,
                format!("without hosts the route would take every connection of {name:?}"),
                "add `hosts:`, or use a tcp listener",
            ),
            (ListenerProtocol::Tcp, false) => report.error_hint(
                place,
                format!("{name:?} is a tcp listener, which reads no host"),
                "did you mean `protocol: https` there, which passes TLS on by SNI?",
            ),
            _ => {}
        }
    }
}

/// Judges what else has the same connections.
fn judge_rivals(
    path: &str,
    route: &TcpRoute,
    routes: &[TcpRoute],
    policies: &[TlsPolicy],
    listeners: &[Listener],
    report: &mut Report<'_>,
) {
    for listener in listeners.iter().filter(|known| route.holds_on(known)) {
        let others = routes.iter().filter(|other| other.holds_on(listener));
        for other in others {
            if route.hosts.is_empty() {
                report.error(
                    path,
                    format!(
                        "TCP route {:?} takes the connections of listener {:?} already",
                        other.name, listener.name
                    ),
                );
            }
            told(path, route, &other.hosts, "TCP route", &other.name, report);
        }
        for policy in policies
            .iter()
            .filter(|policy| policy.holds_on(&listener.name))
        {
            told(
                path,
                route,
                &policy.hosts,
                "TLS policy",
                &policy.name,
                report,
            );
        }
    }
}

/// Tells hosts of routes whose connections a TCP route passes on, so that no
/// request for them comes.
fn warn_of_hidden_hosts(
    document: &Document,
    routes: &[TcpRoute],
    policies: &[TlsPolicy],
    listeners: &[Listener],
    report: &mut Report<'_>,
) {
    if routes.iter().all(|route| route.hosts.is_empty()) {
        return;
    }
    for (index, route) in document.routes.iter().enumerate() {
        let listeners = listeners
            .iter()
            .filter(|known| route.listeners.is_empty() || route.listeners.contains(&known.name));
        for (at, host) in route.hosts.iter().enumerate() {
            // What is no host is told where routes are validated.
            let Ok(host) = text::host_pattern(host) else {
                continue;
            };
            let hides = |route: &&TcpRoute, listener: &Listener| {
                let passes = route.hosts.iter().filter(|passed| covers(passed, &host));
                let Some(passes) = passes.map(length).max() else {
                    return false;
                };
                // A TLS policy of a narrower pattern ends TLS here.
                let policies = policies.iter();
                let policies = policies.filter(|policy| policy.holds_on(&listener.name));
                let mut ends = policies.flat_map(|policy| &policy.hosts);
                let ends = ends.any(|ends| covers(ends, &host) && length(ends) > passes);
                route.holds_on(listener) && !ends
            };
            let mut hidden = listeners.clone().filter_map(|listener| {
                Some((
                    routes.iter().find(|route| hides(route, listener))?,
                    listener,
                ))
            });
            if let Some((hiding, listener)) = hidden.next() {
                report.warn_hint(
                    format!("routes[{index}].hosts[{at}]"),
                    format!(
                        "TCP route {:?} passes on the connections for {host} on listener {:?}: no request comes from there",
                        hiding.name, listener.name
                    ),
                    "take the host out of one of the two, or name the other listeners in `listeners` of this route",
                );
            }
        }
    }
}

/// Whether every name of one pattern is one of another.
fn covers(pattern: &HostPattern, other: &HostPattern) -> bool {
    match (pattern, other) {
        (HostPattern::Suffix(suffix), HostPattern::Exact(name)) => {
            let rest = name.strip_suffix(suffix.as_str());
            rest.is_some_and(|rest| rest.ends_with('.'))
        }
        (HostPattern::Suffix(suffix), HostPattern::Suffix(other)) => {
            let rest = other.strip_suffix(suffix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
        (HostPattern::Exact(_), _) => pattern == other,
    }
}

/// What counts where several patterns have a name: the whole name goes first.
fn length(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Exact(_) => usize::MAX,
        HostPattern::Suffix(suffix) => suffix.len(),
    }
}

/// Tells hosts that something else has too.
fn told(
    path: &str,
    route: &TcpRoute,
    hosts: &[HostPattern],
    what: &str,
    name: &str,
    report: &mut Report<'_>,
) {
    for (at, host) in route.hosts.iter().enumerate() {
        if hosts.contains(host) {
            report.error(
                format!("{path}.hosts[{at}]"),
                format!("{host} is a host of {what} {name:?} already"),
            );
        }
    }
}
