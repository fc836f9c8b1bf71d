//! Asking endpoints whether they are well.

use super::{backend::positive_time, report::Report, text};
use crate::{
    document,
    model::{BackendProtocol, Health, HealthQuestion, HostPattern},
};

/// Longest name of a gRPC service.
const MAX_SERVICE: usize = 200;

pub(super) fn health(
    path: &str,
    settings: &document::Health,
    protocol: BackendProtocol,
    report: &mut Report<'_>,
) -> Health {
    let default = Health::default();
    let count = |field: &str, wanted: Option<u32>, default: u32, report: &mut Report<'_>| {
        if wanted == Some(0) {
            report.error(format!("{path}.{field}"), "a count must be more than 0");
        }
        wanted.unwrap_or(default)
    };
    let question = question(path, settings, protocol, report);
    if question == HealthQuestion::Connection && settings.host.is_some() {
        report.error_hint(
            format!("{path}.host"),
            "a host without a path is never sent",
            "add `path:`",
        );
    }
    let host = settings.host.as_ref().and_then(|host| {
        let named = report.ok(&format!("{path}.host"), text::host_pattern(host))?;
        match named {
            HostPattern::Exact(host) => Some(host),
            HostPattern::Suffix(_) => {
                report.error(
                    format!("{path}.host"),
                    format!("{host:?} is a pattern, not a name"),
                );
                None
            }
        }
    });
    let interval = settings.interval.map_or(default.interval, |time| time.0);
    let timeout = settings.timeout.map_or(default.timeout, |time| time.0);
    if timeout > interval {
        report.warn(
            format!("{path}.timeout"),
            "the timeout is longer than the interval: an endpoint has one question at a time, so a silent one is asked less often",
        );
    }
    Health {
        question,
        host,
        interval: positive_time(
            path,
            "interval",
            settings.interval,
            default.interval,
            report,
        ),
        timeout: positive_time(path, "timeout", settings.timeout, default.timeout, report),
        unhealthy_after: count(
            "unhealthyAfter",
            settings.unhealthy_after,
            default.unhealthy_after,
            report,
        ),
        healthy_after: count(
            "healthyAfter",
            settings.healthy_after,
            default.healthy_after,
            report,
        ),
    }
}

fn question(
    path: &str,
    settings: &document::Health,
    protocol: BackendProtocol,
    report: &mut Report<'_>,
) -> HealthQuestion {
    let place = |field: &str| format!("{path}.{field}");
    if let Some(grpc) = &settings.grpc {
        if settings.path.is_some() {
            report.error(
                place("grpc"),
                "an endpoint is asked by `path` or by `grpc`, not by both",
            );
        }
        if protocol != BackendProtocol::Http2 {
            report.error_hint(
                place("grpc"),
                "gRPC needs HTTP/2",
                "set `protocol: http2` for the backend",
            );
        }
        let service = grpc.service.clone().unwrap_or_default();
        if service.len() > MAX_SERVICE || !service.bytes().all(|byte| byte.is_ascii_graphic()) {
            report.error(
                place("grpc.service"),
                format!("{service:?} is not the name of a gRPC service, as shop.v1.Cart"),
            );
        }
        return HealthQuestion::Grpc(service);
    }
    let Some(asked) = &settings.path else {
        return HealthQuestion::Connection;
    };
    let right = asked.starts_with('/')
        && asked
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !right {
        report.error(
            place("path"),
            format!("{asked:?} is no path: it must start with / and have no spaces and no #"),
        );
    }
    HealthQuestion::Http(asked.clone())
}
