//! Listeners and certificates.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use super::{report::Report, text, tls};
use crate::{
    document::{self, ByteSize, Document},
    model::{
        AdminAddress, Certificate, HostPattern, Listener, ListenerLimits, ListenerProtocol,
        ListenerTls, Model,
    },
};

pub(super) fn certificate(
    path: &str,
    certificate: &document::Certificate,
    report: &mut Report<'_>,
) -> Certificate {
    let mut hosts = Vec::new();
    for (at, host) in certificate.hosts.iter().enumerate() {
        match report.ok(&format!("{path}.hosts[{at}]"), text::host_pattern(host)) {
            Some(HostPattern::Exact(name)) => hosts.push(name),
            Some(HostPattern::Suffix(suffix)) => hosts.push(format!("*.{suffix}")),
            None => {}
        }
    }
    let mut file = |field: &str, file: &str| {
        let place = format!("{path}.{field}");
        if file.is_empty() {
            report.error(&place, "a file is missing");
        }
        report.origins().resolve(&place, file)
    };
    Certificate {
        name: certificate.name.clone(),
        certificate: file("certificate", &certificate.certificate),
        key: file("key", &certificate.key),
        ocsp: certificate
            .ocsp
            .as_ref()
            .map(|response| file("ocsp", response)),
        hosts,
    }
}

pub(super) fn listeners(
    document: &Document,
    model: &Model,
    report: &mut Report<'_>,
) -> Vec<Listener> {
    let mut taken: Vec<(SocketAddr, String)> = Vec::new();
    // A port of UDP is another one than that of TCP.
    let mut taken_by_udp: Vec<(SocketAddr, String)> = Vec::new();
    claim(
        model.process.management,
        "management",
        "management.address",
        &mut taken,
        report,
    );
    if let AdminAddress::Tcp(address) = model.process.admin {
        claim(address, "admin", "admin.address", &mut taken, report);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for (index, listener) in document.listeners.iter().enumerate() {
        let path = format!("listeners[{index}]");
        if listeners.iter().any(|known| known.name == listener.name) {
            let reason = format!("the name {:?} is taken", listener.name);
            report.error(format!("{path}.name"), reason);
            continue;
        }
        let built = report.clean(|report| {
            text::name(&path, &listener.name, report);
            let place = format!("{path}.address");
            let default = default_port(listener.protocol);
            let address = match (&listener.address, default) {
                (None, Some(port)) => Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
                (None, None) => {
                    let (reason, hint) = match listener.protocol {
                        ListenerProtocol::Udp => (
                            "a udp listener needs an address",
                            "as `address: \"[::]:5353\"`",
                        ),
                        _ => (
                            "a tcp listener needs an address",
                            "as `address: \"[::]:5432\"`",
                        ),
                    };
                    report.error_hint(&place, reason, hint);
                    None
                }
                (Some(address), _) => report.ok(&place, text::socket_address(address)),
            };
            let taken = match listener.protocol {
                ListenerProtocol::Udp => &mut taken_by_udp,
                _ => &mut taken,
            };
            if let Some(address) = address {
                claim(address, &listener.name, &place, taken, report);
            }
            if listener.proxy_protocol && listener.protocol == ListenerProtocol::Udp {
                report.error(
                    format!("{path}.proxyProtocol"),
                    "a udp listener reads no PROXY headers",
                );
            }
            let tls = listener_tls(&path, listener, document, model, report);
            let limits = limits(&path, listener.limits.as_ref(), report);
            Some(Listener {
                name: listener.name.clone(),
                protocol: listener.protocol,
                address: address?,
                proxy_protocol: listener.proxy_protocol,
                tls,
                limits,
            })
        });
        listeners.extend(built.flatten());
        // Such a listener can serve nobody yet, and harms nobody either: it stays.
        if listener.protocol == ListenerProtocol::Https
            && document.certificates.is_empty()
            && !passes_on(document, &listener.name)
            && !report.origins().is_incomplete("certificates")
        {
            report.error_hint(
                path,
                "an https listener without any certificate",
                "add one under `certificates:`, or a TCP route with hosts",
            );
        }
    }
    for (index, listener) in document
        .egress
        .iter()
        .flat_map(|egress| &egress.listeners)
        .enumerate()
    {
        // What is no address is told where the section is validated.
        if let Ok(address) = super::egress_listener::address_of(listener) {
            let place = format!("egress.listeners[{index}].address");
            claim(address, &listener.name, &place, &mut taken, report);
        }
    }
    listeners
}

fn default_port(protocol: ListenerProtocol) -> Option<u16> {
    match protocol {
        ListenerProtocol::Http => Some(8080),
        ListenerProtocol::Https => Some(8443),
        ListenerProtocol::Tcp | ListenerProtocol::Udp => None,
    }
}

/// Whether a TCP route passes on TLS of a listener.
fn passes_on(document: &Document, listener: &str) -> bool {
    document.tcp_routes.iter().any(|route| {
        let named = route.listeners.iter().any(|name| name == listener);
        !route.hosts.is_empty() && (route.listeners.is_empty() || named)
    })
}

fn claim(
    address: SocketAddr,
    name: &str,
    path: &str,
    taken: &mut Vec<(SocketAddr, String)>,
    report: &mut Report<'_>,
) {
    let clash = |other: &SocketAddr| {
        let (a, b) = (other.ip().to_canonical(), address.ip().to_canonical());
        other.port() == address.port()
            && address.port() != 0
            && (a == b || a.is_unspecified() || b.is_unspecified())
    };
    if let Some((other, owner)) = taken.iter().find(|(other, _)| clash(other)) {
        report.error(
            path,
            format!("{address} is taken by {owner:?}, which listens on {other}"),
        );
    }
    taken.push((address, name.to_owned()));
}

fn listener_tls(
    path: &str,
    listener: &document::Listener,
    document: &Document,
    model: &Model,
    report: &mut Report<'_>,
) -> ListenerTls {
    let Some(settings) = &listener.tls else {
        return ListenerTls::default();
    };
    let place = format!("{path}.tls");
    let hint = "did you mean `protocol: https`?";
    match listener.protocol {
        ListenerProtocol::Https => {}
        ListenerProtocol::Http => report.error_hint(&place, "an http listener has no TLS", hint),
        ListenerProtocol::Tcp => {
            report.error_hint(&place, "a tcp listener has no TLS of its own", hint);
        }
        ListenerProtocol::Udp => report.error(&place, "a udp listener has no TLS of its own"),
    }
    tls_of(&place, settings, (document, model), report)
}

/// TLS settings of a listener, of either direction.
pub(super) fn tls_of(
    path: &str,
    settings: &document::ListenerTls,
    (document, model): (&Document, &Model),
    report: &mut Report<'_>,
) -> ListenerTls {
    if let Some(name) = &settings.default_certificate
        && !document
            .certificates
            .iter()
            .any(|known| known.name == *name)
    {
        let known = document
            .certificates
            .iter()
            .map(|known| known.name.as_str());
        report.unknown(
            &format!("{path}.defaultCertificate"),
            "certificates",
            "certificate",
            name,
            known,
        );
    }
    ListenerTls {
        settings: tls::settings(path, settings, report),
        default_certificate: settings
            .default_certificate
            .clone()
            .filter(|name| model.certificates.iter().any(|known| known.name == *name)),
        ticket_keys: ticket_keys(path, &settings.ticket_keys, report),
    }
}

fn ticket_keys(path: &str, files: &[String], report: &mut Report<'_>) -> Vec<PathBuf> {
    let mut keys = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let place = format!("{path}.ticketKeys[{index}]");
        if file.is_empty() {
            report.error(&place, "a file is missing");
        }
        let file = report.origins().resolve(&place, file);
        match keys.contains(&file) {
            true => report.warn(place, "the file stands twice"),
            false => keys.push(file),
        }
    }
    keys
}

/// Most headers that the HTTP library reads, less a few of its own.
const MAX_HEADERS: u32 = 250;

/// Largest ClientHello; with post-quantum keys and ECH one has a few KiB.
const MAX_CLIENT_HELLO_SIZE: u64 = 64 << 10;

/// Largest head; the library reads up to 1 MiB.
const MAX_HEADER_SIZE: u64 = 512 << 10;

fn limits(
    path: &str,
    limits: Option<&document::ListenerLimits>,
    report: &mut Report<'_>,
) -> ListenerLimits {
    let default = ListenerLimits::default();
    let Some(limits) = limits else { return default };
    let mut zero = |field: &str, is_zero: bool| {
        if is_zero {
            report.error(
                format!("{path}.limits.{field}"),
                format!("{field} must be more than 0"),
            );
        }
    };
    zero("maxConnections", limits.max_connections == Some(0));
    zero("maxHeaders", limits.max_headers == Some(0));
    zero("maxStreams", limits.max_streams == Some(0));
    zero(
        "maxHeaderSize",
        limits.max_header_size.is_some_and(|size| size.0 == 0),
    );
    zero(
        "maxClientHelloSize",
        limits.max_client_hello_size.is_some_and(|size| size.0 == 0),
    );
    for (field, time) in [
        ("proxyHeaderTimeout", limits.proxy_header_timeout),
        ("handshakeTimeout", limits.handshake_timeout),
        ("headerTimeout", limits.header_timeout),
        ("idleTimeout", limits.idle_timeout),
    ] {
        zero(field, time.is_some_and(|time| time.0.is_zero()));
    }
    // The HTTP library reads no more than this.
    if limits.max_headers.is_some_and(|count| count > MAX_HEADERS) {
        report.error(
            format!("{path}.limits.maxHeaders"),
            format!("maxHeaders is at most {MAX_HEADERS}"),
        );
    }
    if limits
        .max_client_hello_size
        .is_some_and(|size| size.0 > MAX_CLIENT_HELLO_SIZE)
    {
        report.error(
            format!("{path}.limits.maxClientHelloSize"),
            format!(
                "maxClientHelloSize is at most {}",
                ByteSize(MAX_CLIENT_HELLO_SIZE)
            ),
        );
    }
    if limits
        .max_header_size
        .is_some_and(|size| size.0 > MAX_HEADER_SIZE)
    {
        report.error(
            format!("{path}.limits.maxHeaderSize"),
            format!("maxHeaderSize is at most {}", ByteSize(MAX_HEADER_SIZE)),
        );
    }
    ListenerLimits {
        max_connections: limits.max_connections.unwrap_or(default.max_connections),
        max_connections_per_address: limits
            .max_connections_per_address
            .unwrap_or(default.max_connections_per_address),
        proxy_header_timeout: limits
            .proxy_header_timeout
            .map_or(default.proxy_header_timeout, |time| time.0),
        handshake_timeout: limits
            .handshake_timeout
            .map_or(default.handshake_timeout, |time| time.0),
        max_client_hello_size: limits
            .max_client_hello_size
            .map_or(default.max_client_hello_size, |size| size.0),
        header_timeout: limits
            .header_timeout
            .map_or(default.header_timeout, |time| time.0),
        idle_timeout: limits
            .idle_timeout
            .map_or(default.idle_timeout, |time| time.0),
        max_header_size: limits
            .max_header_size
            .map_or(default.max_header_size, |size| size.0),
        max_headers: limits.max_headers.unwrap_or(default.max_headers),
        max_connection_age: limits
            .max_connection_age
            .map_or(default.max_connection_age, |time| time.0),
        max_requests_per_connection: limits
            .max_requests_per_connection
            .unwrap_or(default.max_requests_per_connection),
        max_streams: limits.max_streams.unwrap_or(default.max_streams),
    }
}
