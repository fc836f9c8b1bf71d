//! EndpointSlices to the endpoints of a backend.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::kube::{ObjectSet, Options, ResourceName};

/// The label that says whose endpoints a slice has.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The Service whose endpoints a slice has.
pub(in crate::kube) fn service_of(slice: &EndpointSlice) -> Option<ResourceName> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    Some(ResourceName::new(namespace, service))
}

/// Endpoints that are taken of one Service.
const MAX_ENDPOINTS: usize = 10_000;

/// The slices of each Service, by its namespace and name.
#[derive(Debug)]
pub(super) struct Slices<'o> {
    by_service: HashMap<&'o str, HashMap<&'o str, Vec<&'o Arc<EndpointSlice>>>>,
    /// Whether addresses of this machine are served.
    local: bool,
}

impl<'o> Slices<'o> {
    pub(super) fn of(objects: &'o ObjectSet, options: &Options) -> Self {
        let mut slices: HashMap<&str, HashMap<&str, Vec<&Arc<EndpointSlice>>>> = HashMap::new();
        for (name, slice) in &objects.endpoint_slices {
            if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
                continue;
            }
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) {
                let of_namespace = slices.entry(&name.namespace).or_default();
                of_namespace.entry(service).or_default().push(slice);
            }
        }
        Self {
            by_service: slices,
            local: options.local_addresses,
        }
    }

    /// The slices of a Service, in the order of their names.
    pub(super) fn of_service(&self, namespace: &str, service: &str) -> &[&'o Arc<EndpointSlice>] {
        let of_namespace = self.by_service.get(namespace);
        let slices = of_namespace.and_then(|known| known.get(service));
        slices.map_or(&[][..], Vec::as_slice)
    }

    /// The addresses, with their ports, of a port of a Service, in order. Names (FQDN) are none:
    /// nobody judges them, and one may be an address in disguise.
    ///
    /// `family` is the address type that is preferred, since a pod with two families has an
    /// address of each; `zone` is the zone that the process runs in.
    pub(super) fn addresses(
        &self,
        (namespace, service): (&str, &str),
        port: &str,
        family: Option<&str>,
        zone: Option<&str>,
    ) -> Vec<String> {
        let slices = self.of_service(namespace, service);
        let local = self.local;
        let preferred = slices
            .iter()
            .filter(|slice| family.is_none_or(|family| slice.address_type == family));
        let found = addresses(preferred.map(|slice| &***slice), port, zone, local);
        match found.is_empty() && family.is_some() {
            true => addresses(slices.iter().map(|slice| &***slice), port, zone, local),
            false => found,
        }
    }
}

fn addresses<'o>(
    slices: impl Iterator<Item = &'o EndpointSlice>,
    port: &str,
    zone: Option<&str>,
    local: bool,
) -> Vec<String> {
    let mut known = Vec::new();
    for slice in slices {
        let ports = slice.ports.as_deref().unwrap_or_default();
        let named = ports
            .iter()
            .find(|known| known.name.as_deref().unwrap_or_default() == port);
        if let Some(number) = named.and_then(|port| port.port) {
            known.extend(
                slice
                    .endpoints
                    .iter()
                    .flatten()
                    .map(|endpoint| (endpoint, number)),
            );
        }
    }
    let ready: Vec<_> = known
        .iter()
        .filter(|(endpoint, _)| is_ready(endpoint))
        .collect();
    // Where all are on their way out, those that still answer are better than none.
    let serving = || known.iter().filter(|(endpoint, _)| is_serving(endpoint));
    let taken = match ready.is_empty() {
        true => serving().collect(),
        false => near(ready, zone),
    };
    let addresses = taken.into_iter().filter_map(|(endpoint, number)| {
        // Of several they are all of one pod.
        let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
        let port = u16::try_from(*number).ok()?;
        (local || !is_local(address)).then(|| SocketAddr::new(address, port))
    });
    let addresses: BTreeSet<SocketAddr> = addresses.collect();
    let addresses = addresses.into_iter().take(MAX_ENDPOINTS);
    addresses.map(|address| address.to_string()).collect()
}

/// Those that hints keep for a zone, where all have hints and one is for the zone; else all.
fn near<'e>(
    ready: Vec<&'e (&'e Endpoint, i32)>,
    zone: Option<&str>,
) -> Vec<&'e (&'e Endpoint, i32)> {
    let Some(zone) = zone else { return ready };
    let zones = |endpoint: &Endpoint| {
        let hints = endpoint.hints.as_ref();
        hints
            .and_then(|hints| hints.for_zones.clone())
            .unwrap_or_default()
    };
    if ready.iter().any(|(endpoint, _)| zones(endpoint).is_empty()) {
        return ready;
    }
    let is_near =
        |(endpoint, _): &&&(&Endpoint, i32)| zones(endpoint).iter().any(|known| known.name == zone);
    let near: Vec<_> = ready.iter().filter(is_near).copied().collect();
    match near.is_empty() {
        true => ready,
        false => near,
    }
}

/// Whether an address is one of the gateway itself or of its node. The API refuses these, but
/// for slices of names.
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast()
        }
    }
}

/// What is not said is true (EndpointConditions.ready).
fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

fn is_serving(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.is_some_and(|conditions| {
        conditions.serving == Some(true) && conditions.terminating == Some(true)
    })
}
