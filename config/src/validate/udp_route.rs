//! UDP routes.

use std::time::Duration;

use super::{Names, action, policy, report::Report, tcp_route, text};
use crate::{
    document::{self, ByteSize, Document},
    model::{Backend, BackendProtocol, Listener, ListenerProtocol, UdpRoute},
};

const DEFAULT_MAX_SESSIONS: u32 = 4000;
const DEFAULT_IDLE: Duration = Duration::from_secs(60);

/// What no datagram exceeds: its length has 16 bits (RFC 768).
const MAX_DATAGRAM_SIZE: u64 = 64 << 10;

pub(super) fn udp_routes(
    document: &Document,
    listeners: &[Listener],
    names: &Names,
    report: &mut Report<'_>,
) -> Vec<UdpRoute> {
    let mut routes: Vec<UdpRoute> = Vec::new();
    for (index, wanted) in document.udp_routes.iter().enumerate() {
        let path = format!("udpRoutes[{index}]");
        if routes.iter().any(|known| known.name == wanted.name) {
            let reason = format!("the name {:?} is taken", wanted.name);
            report.error(format!("{path}.name"), reason);
            continue;
        }
        text::name(&path, &wanted.name, report);
        judge_listeners(&path, wanted, document, report);
        let route = route(&path, wanted, names, report);
        if wanted.listeners.is_empty() && !listeners.iter().any(|known| route.holds_on(known)) {
            report.warn(
                &path,
                "the route takes no datagrams: it is for a udp listener, and there is none",
            );
        }
        for listener in listeners.iter().filter(|known| route.holds_on(known)) {
            for other in routes.iter().filter(|other| other.holds_on(listener)) {
                report.error(
                    &path,
                    format!(
                        "UDP route {:?} takes the datagrams of listener {:?} already",
                        other.name, listener.name
                    ),
                );
            }
        }
        routes.push(route);
    }
    for (index, listener) in document.listeners.iter().enumerate() {
        let known = listeners.iter().find(|known| known.name == listener.name);
        let Some(known) = known.filter(|known| known.protocol == ListenerProtocol::Udp) else {
            continue;
        };
        let is_taken = routes.iter().any(|route| route.holds_on(known));
        if !is_taken && !report.origins().is_incomplete("udpRoutes") {
            report.error_hint(
                format!("listeners[{index}]"),
                "a udp listener without a route: every datagram would be dropped",
                "add one under `udpRoutes:`",
            );
        }
    }
    routes
}

fn route(
    path: &str,
    wanted: &document::UdpRoute,
    names: &Names,
    report: &mut Report<'_>,
) -> UdpRoute {
    let access = policy::access(
        &format!("{path}.access"),
        &wanted.access,
        &names.access_lists,
        report,
    );
    let mut backends = action::backends(path, &wanted.backends, names, report);
    for (index, (backend, _)) in backends.iter().enumerate() {
        let place = format!("{path}.backends[{index}].name");
        judge_backend(&place, backend, report);
    }
    let max_size = wanted
        .max_datagram_size
        .map_or(MAX_DATAGRAM_SIZE, |size| size.0);
    if max_size > MAX_DATAGRAM_SIZE {
        report.error(
            format!("{path}.maxDatagramSize"),
            format!(
                "maxDatagramSize is at most {}, which no datagram exceeds",
                ByteSize(MAX_DATAGRAM_SIZE)
            ),
        );
    }
    let idle = wanted.timeouts.as_ref().and_then(|times| times.idle);
    for (field, is_zero) in [
        ("maxSessions", wanted.max_sessions == Some(0)),
        ("maxDatagramSize", max_size == 0),
        ("timeouts.idle", idle.is_some_and(|idle| idle.0.is_zero())),
    ] {
        if is_zero {
            report.error(
                format!("{path}.{field}"),
                format!("{field} must be more than 0"),
            );
        }
    }
    if access.is_none() {
        // Without a control that it must have it forwards nowhere.
        backends.clear();
    }
    UdpRoute {
        name: wanted.name.clone(),
        listeners: wanted.listeners.clone(),
        access: access.unwrap_or_default(),
        max_sessions: wanted.max_sessions.unwrap_or(DEFAULT_MAX_SESSIONS),
        max_datagram_size: max_size,
        responses: wanted.responses.unwrap_or(0),
        idle: idle.map_or(DEFAULT_IDLE, |idle| idle.0),
        backends,
    }
}

/// Judges what a backend has that datagrams have no use for.
fn judge_backend(place: &str, backend: &Backend, report: &mut Report<'_>) {
    tcp_route::refuse_choice_by_requests(place, "a UDP route", backend, report);
    let other = [
        ("tls", backend.tls.is_some()),
        (
            "protocol: http2",
            backend.protocol == BackendProtocol::Http2,
        ),
        ("proxyProtocol", backend.proxy_protocol.is_some()),
    ];
    for (key, _) in other.iter().filter(|(_, has)| *has) {
        report.error_hint(
            place,
            format!(
                "a UDP route passes datagrams on as they are, and backend {:?} has `{key}`",
                backend.name
            ),
            "give the route a backend of its own",
        );
    }
}

/// Judges the listeners that a route names.
fn judge_listeners(
    path: &str,
    wanted: &document::UdpRoute,
    document: &Document,
    report: &mut Report<'_>,
) {
    text::listeners(path, &wanted.listeners, document, report);
    for (index, name) in wanted.listeners.iter().enumerate() {
        let known = document.listeners.iter().find(|known| known.name == *name);
        let Some(listener) = known else { continue };
        let protocol = match listener.protocol {
            ListenerProtocol::Udp => continue,
            ListenerProtocol::Http => "an http",
            ListenerProtocol::Https => "an https",
            ListenerProtocol::Tcp => "a tcp",
        };
        report.error_hint(
            format!("{path}.listeners[{index}]"),
            format!("{name:?} is {protocol} listener, and a UDP route takes datagrams"),
            "name a listener with `protocol: udp`",
        );
    }
}
