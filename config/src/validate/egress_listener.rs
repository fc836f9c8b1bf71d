//! Where workloads reach the egress proxy, and the TLS that they speak there.

use std::net::{Ipv6Addr, SocketAddr};

use super::{listener, report::Report, text};
use crate::{
    document::{self, AlpnProtocol, ClientCertificateMode, Document},
    model::{EgressListener, EgressProtocol, ListenerTls, Model},
};

/// Where a listener is, by its own word or by default.
pub(super) fn address_of(listener: &document::EgressListener) -> Result<SocketAddr, String> {
    let port = match listener.protocol.unwrap_or_default() {
        EgressProtocol::Http => 3128,
        EgressProtocol::Socks5 => 1080,
    };
    match &listener.address {
        None => Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        Some(address) => text::socket_address(address),
    }
}

/// The listeners of the section.
pub(super) fn listeners(
    section: &document::Egress,
    (document, model): (&Document, &Model),
    report: &mut Report<'_>,
) -> Vec<EgressListener> {
    let mut listeners: Vec<EgressListener> = Vec::new();
    for (index, listener) in section.listeners.iter().enumerate() {
        let path = format!("egress.listeners[{index}]");
        let named = text::name(&path, &listener.name, report);
        let address = report.ok(&format!("{path}.address"), address_of(listener));
        let protocol = listener.protocol.unwrap_or_default();
        let tls = listener
            .tls
            .as_ref()
            .map(|wanted| tls(&path, wanted, protocol, (document, model), report));
        if listeners.iter().any(|known| known.name == listener.name) {
            report.error(
                format!("{path}.name"),
                format!("the name {:?} is taken", listener.name),
            );
        } else if let (true, Some(address)) = (named, address) {
            listeners.push(EgressListener {
                name: listener.name.clone(),
                address,
                protocol,
                tls,
            });
        }
    }
    listeners
}

fn tls(
    path: &str,
    wanted: &document::ListenerTls,
    protocol: EgressProtocol,
    (document, model): (&Document, &Model),
    report: &mut Report<'_>,
) -> ListenerTls {
    let place = format!("{path}.tls");
    if document.certificates.is_empty() && !report.origins().is_incomplete("certificates") {
        report.error_hint(
            &place,
            "TLS without any certificate",
            "add one under `certificates:`",
        );
    }
    // No protocol of the registry is SOCKS.
    let is_named = protocol == EgressProtocol::Http;
    if wanted.alpn.is_some() && !is_named {
        let reason = "SOCKS5 has no name for ALPN";
        report.error_hint(format!("{place}.alpn"), reason, "leave it out");
    }
    if let Some(wanted) = &wanted.client_certificates {
        client_certificates(&format!("{place}.clientCertificates"), wanted, report);
    }
    let mut tls = listener::tls_of(&place, wanted, (document, model), report);
    if wanted.alpn.is_none() || !is_named {
        // Go offers `h2` to a proxy, and speaks HTTP/1.1 to it all the same.
        let default = is_named.then_some(AlpnProtocol::Http1);
        tls.settings.alpn = default.into_iter().collect();
    }
    if let Some(meant) = &mut tls.settings.client_certificates {
        meant.headers.clear();
    }
    tls
}

/// What certificates of clients are good for here: telling who a client is.
fn client_certificates(path: &str, wanted: &document::ClientCertificates, report: &mut Report<'_>) {
    if wanted.mode == ClientCertificateMode::Unverified {
        report.error_hint(
            format!("{path}.mode"),
            "a certificate that nobody verifies does not say who a client is",
            "did you mean `mode: optional`?",
        );
    } else if wanted.headers.is_some() {
        report.error_hint(
            format!("{path}.headers"),
            "no backend is told of clients of the egress proxy",
            "leave it out; the audit log has who they are",
        );
    }
}
