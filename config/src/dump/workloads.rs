//! What `egress.workloads` leaves out.

use crate::{
    document::{
        ByteSize, ClusterDns, Duration, EgressWorkloads, KeptNetworkPolicies, PodInjection,
    },
    model,
};

/// Fills in what is not said. The namespace of the proxy is that of the gateway, which a document does
/// not know.
pub(super) fn fill_workloads(workloads: &mut EgressWorkloads, meant: &model::EgressWorkloads) {
    let label = || meant.namespace_label.clone();
    workloads.namespace_label.get_or_insert_with(label);
    if let (Some(injection), Some(meant)) = (&mut workloads.injection, &meant.injection) {
        fill_injection(injection, meant);
    }
    if let (Some(policies), Some(meant)) =
        (&mut workloads.network_policies, &meant.network_policies)
    {
        fill_network_policies(policies, meant);
    }
}

fn fill_injection(injection: &mut PodInjection, meant: &model::PodInjection) {
    injection.identity.get_or_insert(meant.identity.kind());
    injection
        .cluster_traffic
        .get_or_insert(meant.cluster_traffic);
    if let Some(meant) = meant.identity.token() {
        let token = injection.token.get_or_insert_default();
        token.audience.get_or_insert_with(|| meant.audience.clone());
        let seconds = std::time::Duration::from_secs(meant.expiration_seconds);
        token.expiration.get_or_insert(Duration(seconds));
    }
    if let (Some(relay), model::Identified::Relay(meant, _)) =
        (&mut injection.relay, &meant.identity)
    {
        relay.port.get_or_insert(meant.port);
        relay
            .memory_limit
            .get_or_insert(ByteSize(meant.memory_limit));
        relay
            .memory_request
            .get_or_insert(ByteSize(meant.memory_request));
        let request = || meant.cpu_request.to_string();
        relay.cpu_request.get_or_insert_with(request);
    }
}

fn fill_network_policies(policies: &mut KeptNetworkPolicies, meant: &model::KeptNetworkPolicies) {
    let labels = || meant.proxy_labels.clone();
    policies.proxy_labels.get_or_insert_with(labels);
    let ports = || meant.ports.iter().copied().collect();
    policies.ports.get_or_insert_with(ports);
    policies.in_cluster.get_or_insert(meant.in_cluster);
    let ClusterDns {
        namespace,
        labels,
        port,
    } = policies.dns.get_or_insert_default();
    namespace.get_or_insert_with(|| meant.dns_namespace.clone());
    labels.get_or_insert_with(|| meant.dns_labels.clone());
    port.get_or_insert(meant.dns_port);
}
