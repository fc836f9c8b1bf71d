//! What namespaces with a label get, so that their pods go out through the egress proxy.

use std::collections::{BTreeMap, BTreeSet};

use super::{egress_injection, report::Report};
use crate::{
    document::{self, Egress},
    egress::{Host, Label, is_namespace},
    model::{
        ClusterTraffic, EgressListener, EgressWorkloads, InCluster, KeptNetworkPolicies,
        PodInjection,
    },
};

const PLACE: &str = "egress.workloads";
const NAMESPACE_LABEL: &str = "portcullis.dev/egress";
const PROXY_LABELS: [(&str, &str); 2] = [
    ("app.kubernetes.io/name", "portcullis"),
    ("app.kubernetes.io/component", "egress"),
];
const DNS_LABELS: [(&str, &str); 1] = [("k8s-app", "kube-dns")];
const DNS_NAMESPACE: &str = "kube-system";
const DNS_PORT: u16 = 53;

/// The section, beside the listeners of the proxy.
pub(super) fn workloads(
    section: &Egress,
    listeners: &[EgressListener],
    report: &mut Report<'_>,
) -> Option<EgressWorkloads> {
    let wanted = section.workloads.as_ref()?;
    let label = wanted.namespace_label.as_deref();
    let label = label.unwrap_or(NAMESPACE_LABEL).to_owned();
    let place = format!("{PLACE}.namespaceLabel");
    report.ok(&place, format!("{label}=enforced").parse::<Label>());
    let injection = wanted.injection.as_ref();
    let injection =
        injection.and_then(|wanted| egress_injection::injection(wanted, section, report));
    let policies = wanted.network_policies.as_ref();
    let policies = policies.map(|wanted| network_policies(wanted, listeners, report));
    if let (Some(injection), Some(policies)) = (&injection, &policies) {
        agree(injection, policies, report);
    }
    Some(EgressWorkloads {
        namespace_label: label,
        injection,
        network_policies: policies,
    })
}

/// Warns where programs are told a way that is closed.
fn agree(injection: &PodInjection, policies: &KeptNetworkPolicies, report: &mut Report<'_>) {
    if injection.cluster_traffic == ClusterTraffic::Direct && policies.in_cluster == InCluster::Deny
    {
        report.warn_hint(
            format!("{PLACE}.injection.clusterTraffic"),
            "NO_PROXY sends programs to pods and Services directly, which `networkPolicies.inCluster: deny` closes",
            "`clusterTraffic: proxy` sends them through the proxy",
        );
    }
    if let (Host::Name(name), false) = (&injection.proxy.authority().host, policies.allow_dns) {
        report.warn_hint(
            format!("{PLACE}.injection.proxy"),
            format!("pods cannot look {name} up, since `networkPolicies` closes DNS"),
            "name the address of its Service, or say `allowDns: true`",
        );
    }
}

fn network_policies(
    wanted: &document::KeptNetworkPolicies,
    listeners: &[EgressListener],
    report: &mut Report<'_>,
) -> KeptNetworkPolicies {
    let place = format!("{PLACE}.networkPolicies");
    let mut namespace = |field: &str, name: Option<&String>| {
        if name.is_some_and(|name| !is_namespace(name)) {
            report.error(
                format!("{place}.{field}"),
                "not a namespace: small letters, digits and `-`, at most 63",
            );
        }
        name.cloned()
    };
    let dns = wanted.dns.clone().unwrap_or_default();
    let proxy_namespace = namespace("proxyNamespace", wanted.proxy_namespace.as_ref());
    let dns_namespace = namespace("dns.namespace", dns.namespace.as_ref());
    let mut labels = |field: &str, wanted: Option<&BTreeMap<_, _>>, default: &[(&str, &str)]| {
        labels(&format!("{place}.{field}"), wanted, default, report)
    };
    let proxy_labels = labels("proxyLabels", wanted.proxy_labels.as_ref(), &PROXY_LABELS);
    let dns_labels = labels("dns.labels", dns.labels.as_ref(), &DNS_LABELS);
    let ports: BTreeSet<u16> = match &wanted.ports {
        Some(ports) => ports.iter().copied().collect(),
        // No other pod reaches one on the loopback.
        None => listeners
            .iter()
            .filter(|listener| !listener.address.ip().is_loopback())
            .map(|listener| listener.address.port())
            .collect(),
    };
    if ports.is_empty() || ports.contains(&0) {
        report.error_hint(
            format!("{place}.ports"),
            "no port of the proxy would be open: ports are numbers from 1 to 65535, at least one",
            "name those that the proxy's pods listen on",
        );
    }
    if dns.port == Some(0) {
        let told = "ports are numbers from 1 to 65535";
        report.error(format!("{place}.dns.port"), told);
    }
    KeptNetworkPolicies {
        proxy_namespace,
        proxy_labels,
        ports,
        in_cluster: wanted.in_cluster.unwrap_or_default(),
        allow_dns: wanted.allow_dns,
        dns_namespace: dns_namespace.unwrap_or_else(|| DNS_NAMESPACE.to_owned()),
        dns_labels,
        dns_port: dns.port.unwrap_or(DNS_PORT),
    }
}

fn labels(
    place: &str,
    wanted: Option<&BTreeMap<String, String>>,
    default: &[(&str, &str)],
    report: &mut Report<'_>,
) -> BTreeMap<String, String> {
    let Some(wanted) = wanted else {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        return default.iter().map(owned).collect();
    };
    for (key, value) in wanted {
        report.ok(place, format!("{key}={value}").parse::<Label>());
    }
    if wanted.is_empty() {
        // It would be open to every pod of the namespace.
        report.error(place, "at least one label is expected");
    }
    wanted.clone()
}

#[cfg(test)]
mod tests;
