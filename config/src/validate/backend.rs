//! Backends.

use std::{sync::Arc, time::Duration};

use super::{report::Report, text};
use crate::{
    document,
    model::{Backend, BackendProtocol, BackendTls, Endpoint, HostPattern},
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
        tls: None,
        keepalive: DEFAULT_KEEPALIVE,
    })
}

pub(super) fn backend(path: &str, backend: &document::Backend, report: &mut Report<'_>) -> Backend {
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
            text::socket_address(&endpoint.address),
        ) {
            if address.port() == 0 {
                report.error(
                    format!("{place}.address"),
                    "an endpoint needs a port above 0",
                );
            }
            endpoints.push(Endpoint { address, weight });
        }
    }
    Backend {
        name: backend.name.clone(),
        protocol: backend.protocol.unwrap_or_default(),
        endpoints,
        tls: backend
            .tls
            .as_ref()
            .and_then(|settings| tls(&format!("{path}.tls"), settings, report)),
        keepalive: backend.keepalive.map_or(DEFAULT_KEEPALIVE, |time| time.0),
    }
}

fn tls(path: &str, tls: &document::BackendTls, report: &mut Report<'_>) -> Option<BackendTls> {
    let ca = tls.ca.as_ref().map(|file| {
        let place = format!("{path}.ca");
        if file.is_empty() {
            report.error(&place, "a file is missing");
        }
        report.origins().resolve(&place, file)
    });
    // An empty server name would turn verification off in the TLS library.
    let place = format!("{path}.serverName");
    let HostPattern::Exact(server_name) =
        report.ok(&place, text::host_pattern(&tls.server_name))?
    else {
        report.error(
            place,
            format!("{:?} is a pattern, not a name", tls.server_name),
        );
        return None;
    };
    Some(BackendTls { server_name, ca })
}
