//! Services to backends.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{ServicePort, ServiceSpec},
    networking::v1::IngressServiceBackend,
};
use portcullis_config::{
    document::{Backend, BackendProtocol, Endpoint},
    problem::Category,
};

use super::endpoint_slice::Slices;
use crate::kube::{ObjectSet, Options, ResourceName};

/// A backend of a Service and one of its ports, and why it may have no endpoint.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) backend: Arc<Backend>,
    /// What is wrong, and what to do about it.
    pub(super) problem: Option<Wrong>,
}

/// What is wrong with a Service, and what to do about it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) category: Category,
    pub(super) reason: String,
    pub(super) hint: Option<&'static str>,
}

impl Wrong {
    /// It, or a port of it, is not there.
    fn not_found(reason: String) -> Self {
        Self {
            category: Category::ServiceNotFound,
            reason,
            hint: None,
        }
    }

    /// It is not served.
    fn invalid(reason: String, hint: Option<&'static str>) -> Self {
        Self {
            category: Category::Invalid,
            reason,
            hint,
        }
    }
}

/// Makes the backend of a Service that an Ingress refers to. There always is one: without
/// endpoints its requests get 503, and no broader rule takes them.
pub(super) fn backend(
    objects: &ObjectSet,
    options: &Options,
    slices: &Slices<'_>,
    namespace: &str,
    wanted: &IngressServiceBackend,
) -> Made {
    let service = ResourceName::new(namespace, &wanted.name);
    let port = Port::of(wanted);
    let mut backend = Backend {
        name: name(namespace, wanted),
        protocol: None,
        endpoints: Vec::new(),
        balance: None,
        affinity: None,
        ejection: None,
        slow_start: None,
        health: None,
        limits: None,
        retry_budget: None,
        proxy_protocol: None,
        tls: None,
        keepalive: None,
        local_addresses: None,
    };
    let found = objects
        .services
        .get(&service)
        .and_then(|service| service.spec.as_ref());
    let made = match found {
        None => Err(Wrong::not_found(format!("there is no Service {service}"))),
        Some(spec) if spec.type_.as_deref() == Some("ExternalName") => {
            // Whoever writes the Service, or has the zone of the name, chooses the address.
            backend.local_addresses = (!options.local_addresses).then_some(false);
            external(spec, &port, options)
        }
        Some(spec) => {
            let known = spec.ports.as_deref().unwrap_or_default();
            match known.iter().find(|known| port.is(known)) {
                None => Err(Wrong::not_found(no_port(&service, &port, known))),
                Some(known) => {
                    backend.protocol = protocol(known);
                    let name = known.name.as_deref().unwrap_or_default();
                    let families = spec.ip_families.as_deref().unwrap_or_default();
                    Ok(slices.addresses(
                        (namespace, &wanted.name),
                        name,
                        families.first().map(String::as_str),
                        options.zone.as_deref(),
                    ))
                }
            }
        }
    };
    let (addresses, problem) = match made {
        Ok(addresses) => (addresses, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let endpoints = addresses.into_iter().map(|address| Endpoint {
        address,
        weight: None,
    });
    backend.endpoints = endpoints.collect();
    Made {
        backend: Arc::new(backend),
        problem,
    }
}

/// The name of the backend of a Service and one of its ports.
pub(super) fn name(namespace: &str, wanted: &IngressServiceBackend) -> String {
    let service = ResourceName::new(namespace, &wanted.name);
    format!("{service}:{}", Port::of(wanted))
}

/// A port as an Ingress says it: by number or by name.
#[derive(Clone, Debug)]
enum Port {
    Number(i32),
    Name(String),
    Missing,
}

impl Port {
    fn of(wanted: &IngressServiceBackend) -> Self {
        let port = wanted.port.as_ref();
        match (
            port.and_then(|port| port.name.clone()),
            port.and_then(|port| port.number),
        ) {
            (Some(name), _) => Self::Name(name),
            (None, Some(number)) => Self::Number(number),
            (None, None) => Self::Missing,
        }
    }

    fn is(&self, port: &ServicePort) -> bool {
        match self {
            Self::Number(number) => port.port == *number,
            Self::Name(name) => port.name.as_ref() == Some(name),
            Self::Missing => false,
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
            Self::Missing => f.write_str("none"),
        }
    }
}

fn no_port(service: &ResourceName, port: &Port, known: &[ServicePort]) -> String {
    let known: Vec<String> = known
        .iter()
        .map(|known| match &known.name {
            Some(name) => format!("{} ({name})", known.port),
            None => known.port.to_string(),
        })
        .collect();
    format!(
        "Service {service} has no port {port}; it has {}",
        known.join(", ")
    )
}

/// The address of a name outside, which is looked up for each connection's sake.
fn external(spec: &ServiceSpec, port: &Port, options: &Options) -> Result<Vec<String>, Wrong> {
    let name = spec.external_name.as_deref().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    if !options.external_names {
        let reason = format!("a Service of type ExternalName ({name}) is not served");
        let hint = "start the gateway with --allow-external-names";
        return Err(Wrong::invalid(reason, Some(hint)));
    }
    // The API does not judge these names, and an address is not looked up as one.
    let is_name = name.parse::<std::net::IpAddr>().is_err()
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    if !is_name || name.eq_ignore_ascii_case("localhost") {
        let reason = format!("externalName {name:?} is not a name outside");
        return Err(Wrong::invalid(reason, None));
    }
    let ports = spec.ports.as_deref().unwrap_or_default();
    let number = match port {
        Port::Number(number) => Some(*number),
        Port::Name(_) | Port::Missing => {
            let named = ports.iter().find(|known| port.is(known));
            named.map(|known| known.port)
        }
    };
    match number {
        Some(number) => Ok(vec![format!("{name}:{number}")]),
        None => Err(Wrong::not_found(format!("the Service has no port {port}"))),
    }
}

/// What a port speaks (ServicePort.appProtocol).
fn protocol(port: &ServicePort) -> Option<BackendProtocol> {
    match port.app_protocol.as_deref()? {
        "kubernetes.io/h2c" | "h2c" | "http2" | "grpc" => Some(BackendProtocol::Http2),
        _ => None,
    }
}
