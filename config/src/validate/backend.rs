//! Backends.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{affinity, health::health, report::Report, text, upstream_tls::upstream_tls};
use crate::{
    document,
    model::{
        Backend, BackendLimits, BackendProtocol, Balance, Ejection, Endpoint, EndpointAddress,
        RetryBudget,
    },
};

/// Below the idle time of common backends (Node: 5 s), so that a pooled
/// connection is not closed under a request.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(4);
const MAX_WEIGHT: u32 = 1000;

/// A backend that is not there, or not right: all its requests get 503.
pub(super) fn without_endpoints(name: &str) -> Arc<Backend> {
    Arc::new(Backend {
        name: name.to_owned(),
        protocol: BackendProtocol::default(),
        endpoints: Vec::new(),
        balance: Balance::default(),
        affinity: None,
        ejection: Ejection::default(),
        slow_start: Duration::ZERO,
        health: None,
        limits: BackendLimits::default(),
        retry_budget: RetryBudget::default(),
        proxy_protocol: None,
        tls: None,
        keepalive: DEFAULT_KEEPALIVE,
        local_addresses: true,
    })
}

pub(super) fn backend(path: &str, backend: &document::Backend, report: &mut Report<'_>) -> Backend {
    let mut addresses = HashSet::new();
    let mut endpoints = Vec::new();
    for (index, endpoint) in backend.endpoints.iter().enumerate() {
        let place = format!("{path}.endpoints[{index}]");
        let weight = endpoint.weight.unwrap_or(1);
        if weight > MAX_WEIGHT {
            report.error(
                format!("{place}.weight"),
                format!("a weight is at most {MAX_WEIGHT}"),
            );
        }
        if let Some(address) = report.ok(
            &format!("{place}.address"),
            text::endpoint_address(&endpoint.address),
        ) {
            if port_of(&address) == 0 {
                report.error(
                    format!("{place}.address"),
                    "an endpoint needs a port above 0",
                );
            }
            if !addresses.insert(address.clone()) {
                report.error_hint(
                    format!("{place}.address"),
                    format!("{address} stands here twice"),
                    "give it a `weight` for a larger share",
                );
            }
            endpoints.push(Endpoint { address, weight });
        }
    }
    if let (Some(_), Some(health)) = (&backend.proxy_protocol, &backend.health) {
        for (field, asked) in [
            ("path", health.path.is_some()),
            ("grpc", health.grpc.is_some()),
        ] {
            if asked {
                report.error_hint(
                    format!("{path}.health.{field}"),
                    "with `proxyProtocol` endpoints are asked by a connection alone",
                    format!("leave the {field} out"),
                );
            }
        }
    }
    if !backend
        .endpoints
        .iter()
        .any(|endpoint| endpoint.weight != Some(0))
        && !report.is_of_object(path)
    {
        report.warn(
            format!("{path}.endpoints"),
            match backend.endpoints.is_empty() {
                true => "there is no endpoint: every request gets 503",
                false => "every endpoint has weight 0: every request gets 503",
            },
        );
    }
    Backend {
        name: backend.name.clone(),
        protocol: backend.protocol.unwrap_or_default(),
        endpoints,
        balance: affinity::balance(&format!("{path}.balance"), backend.balance.as_ref(), report),
        affinity: backend
            .affinity
            .as_ref()
            .and_then(|settings| affinity::affinity(&format!("{path}.affinity"), settings, report)),
        ejection: ejection(
            &format!("{path}.ejection"),
            backend.ejection.as_ref(),
            report,
        ),
        slow_start: backend.slow_start.map_or(Duration::ZERO, |time| time.0),
        health: backend.health.as_ref().map(|settings| {
            let protocol = backend.protocol.unwrap_or_default();
            health(&format!("{path}.health"), settings, protocol, report)
        }),
        limits: limits(&format!("{path}.limits"), backend.limits.as_ref(), report),
        retry_budget: retry_budget(
            &format!("{path}.retryBudget"),
            backend.retry_budget.as_ref(),
            report,
        ),
        proxy_protocol: backend.proxy_protocol,
        tls: backend
            .tls
            .as_ref()
            .and_then(|settings| upstream_tls(&format!("{path}.tls"), settings, report)),
        keepalive: backend.keepalive.map_or(DEFAULT_KEEPALIVE, |time| time.0),
        local_addresses: backend.local_addresses.unwrap_or(true),
    }
}

fn port_of(address: &EndpointAddress) -> u16 {
    match address {
        EndpointAddress::Socket(address) => address.port(),
        EndpointAddress::Name { port, .. } => *port,
    }
}

fn ejection(
    path: &str,
    settings: Option<&document::Ejection>,
    report: &mut Report<'_>,
) -> Ejection {
    let default = Ejection::default();
    let Some(settings) = settings else {
        return default;
    };
    let max_ejected = settings.max_ejected.unwrap_or(default.max_ejected);
    if max_ejected > 100 {
        report.error(
            format!("{path}.maxEjected"),
            "a share is at most 100 percent",
        );
    }
    Ejection {
        failures: settings.failures.unwrap_or(default.failures),
        time: positive_time(path, "time", settings.time, default.time, report),
        max_ejected,
    }
}

fn limits(
    path: &str,
    settings: Option<&document::BackendLimits>,
    report: &mut Report<'_>,
) -> BackendLimits {
    let default = BackendLimits::default();
    let Some(settings) = settings else {
        return default;
    };
    BackendLimits {
        max_connections: settings.max_connections.unwrap_or(default.max_connections),
        max_requests: settings.max_requests.unwrap_or(default.max_requests),
        max_pending: settings.max_pending.unwrap_or(default.max_pending),
        pending_timeout: positive_time(
            path,
            "pendingTimeout",
            settings.pending_timeout,
            default.pending_timeout,
            report,
        ),
    }
}

fn retry_budget(
    path: &str,
    settings: Option<&document::RetryBudget>,
    report: &mut Report<'_>,
) -> RetryBudget {
    let default = RetryBudget::default();
    let Some(settings) = settings else {
        return default;
    };
    let percent = settings.percent.unwrap_or(default.percent);
    if percent > 100 {
        report.error(format!("{path}.percent"), "a share is at most 100 percent");
    }
    RetryBudget {
        percent,
        min_per_second: settings.min_per_second.unwrap_or(default.min_per_second),
    }
}

pub(super) fn positive_time(
    path: &str,
    field: &str,
    wanted: Option<document::Duration>,
    default: Duration,
    report: &mut Report<'_>,
) -> Duration {
    if wanted.is_some_and(|time| time.0.is_zero()) {
        report.error(format!("{path}.{field}"), "a time must be more than 0");
    }
    wanted.map_or(default, |time| time.0)
}
