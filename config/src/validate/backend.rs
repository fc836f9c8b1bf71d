//! Backends.

use std::{sync::Arc, time::Duration};

use super::{report::Report, text};
use crate::{
    document,
    model::{Backend, BackendTls, Endpoint, HostPattern},
};

/// Below the idle time of common backends (Node: 5 s), so that a pooled
/// connection is not closed under a request.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(4);
const MAX_WEIGHT: u32 = 1000;

pub(super) fn backend(
    path: &str,
    backend: &document::Backend,
    report: &mut Report<'_>,
) -> Option<Arc<Backend>> {
    let named = text::name(path, &backend.name, report);
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
    let tls = match &backend.tls {
        None => None,
        Some(tls) => {
            // An empty server name would turn verification off in the TLS library.
            let place = format!("{path}.tls.serverName");
            match report.ok(&place, text::host_pattern(&tls.server_name))? {
                HostPattern::Exact(server_name) => Some(BackendTls {
                    server_name,
                    ca: tls
                        .ca
                        .as_ref()
                        .map(|file| report.origins().resolve(&format!("{path}.tls.ca"), file)),
                }),
                HostPattern::Suffix(_) => {
                    report.error(place, "a server name is no pattern");
                    None
                }
            }
        }
    };
    named.then(|| {
        Arc::new(Backend {
            name: backend.name.clone(),
            protocol: backend.protocol.unwrap_or_default(),
            endpoints,
            tls,
            keepalive: backend.keepalive.map_or(DEFAULT_KEEPALIVE, |time| time.0),
        })
    })
}
