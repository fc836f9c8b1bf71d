//! The egress proxy: entries that can never work are refused here, with the reason.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use super::{
    egress_denied, egress_identity, egress_inspection, egress_listener, egress_quota,
    egress_refusals, egress_unseen, egress_upstream_proxy, egress_workloads, report::Report, text,
};
use crate::{
    access::{AddressSet, parse_network},
    document::{self, Document, EgressEntry},
    egress::AddressClass,
    model::{
        Delegate, Egress, EgressLimits, EgressMode, EgressPolicies, EgressPolicy, EgressRule,
        EgressRules, HostPattern, Model, Target,
    },
};

const DEFAULT_PORTS: [u16; 2] = [80, 443];
const ALL_MODES: [EgressMode; 3] = [EgressMode::Enforce, EgressMode::Report, EgressMode::Open];
const DEFAULT_DNS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
const DEFAULT_DNS_CACHE: u32 = 10_000;

/// The section, in a document whose certificates are in the model already.
pub(super) fn egress(
    section: &document::Egress,
    around: (&Document, &Model),
    report: &mut Report<'_>,
) -> Egress {
    let resolver = section.resolver.clone().unwrap_or_default();
    let mut dns_servers = Vec::new();
    for (index, server) in resolver.servers.iter().enumerate() {
        dns_servers.extend(report.ok(
            &format!("egress.resolver.servers[{index}]"),
            text::socket_address(server),
        ));
    }
    // One name means one policy, wherever it is read.
    let mut names = HashSet::new();
    let mut list = |list: &str, wanted: &[document::EgressPolicy]| {
        policies(list, wanted, &mut names, section, report)
    };
    let cluster_policies = list("clusterPolicies", &section.cluster_policies);
    let policies = list("policies", &section.policies);
    egress_inspection::check(section, around.0, report);
    let inspection = egress_inspection::inspection(section.inspection.as_ref(), report);
    let listeners = egress_listener::listeners(section, around, report);
    let workloads = egress_workloads::workloads(section, &listeners, report);
    Egress {
        listeners,
        dns_servers,
        dns_timeout: resolver.timeout.map_or(DEFAULT_DNS_TIMEOUT, |time| time.0),
        dns_cache_entries: resolver.cache_entries.unwrap_or(DEFAULT_DNS_CACHE),
        cluster_ranges: text::networks("egress.clusterRanges", &section.cluster_ranges, report),
        identity: egress_identity::identity(section, report),
        limits: limits(section.limits.as_ref(), report),
        tls_origination: egress_inspection::tls_origination(section, inspection.as_ref(), report),
        inspection,
        upstream_proxies: egress_upstream_proxy::upstream_proxies(
            &section.upstream_proxies,
            report,
        ),
        contact: egress_refusals::contact(section.refusals.as_ref(), report),
        workloads: workloads.map(Arc::new),
        cluster_policies,
        policies,
    }
}

/// The policies of one list.
fn policies(
    list: &str,
    wanted: &[document::EgressPolicy],
    names: &mut HashSet<String>,
    section: &document::Egress,
    report: &mut Report<'_>,
) -> EgressPolicies {
    let mut policies = Vec::new();
    for (index, policy) in wanted.iter().enumerate() {
        let path = format!("egress.{list}[{index}]");
        if !names.insert(policy.name.clone()) {
            report.error(
                format!("{path}.name"),
                format!("the name {:?} is taken", policy.name),
            );
        }
        if list == "policies" && policy.delegate.is_some() {
            report.error_hint(
                format!("{path}.delegate"),
                "only a policy of the cluster leaves something to others",
                match report.is_of_object(&path) {
                    true => "a ClusterEgressPolicy may have it",
                    false => "policies of the cluster stand in `egress.clusterPolicies`",
                },
            );
        }
        policies.push(self::policy(&path, policy, section, report));
    }
    policies.into_iter().collect()
}

fn policy(
    path: &str,
    policy: &document::EgressPolicy,
    section: &document::Egress,
    report: &mut Report<'_>,
) -> EgressPolicy {
    text::name(path, &policy.name, report);
    let place = format!("{path}.subjects");
    let subjects = egress_identity::subjects(&place, &policy.subjects, section, report);
    let delegate = policy.delegate.as_ref().map(|delegate| Delegate {
        allow: delegate.allow.as_ref().map(|entries| {
            let place = format!("{path}.delegate.allow");
            let rules = rules(&place, entries, &DEFAULT_PORTS, report);
            egress_quota::one_each(&place, &rules, report);
            rules
        }),
        modes: delegate.modes.clone().unwrap_or_else(|| ALL_MODES.to_vec()),
    });
    let place = format!("{path}.allow");
    let allow = rules(&place, &policy.allow, &DEFAULT_PORTS, report);
    egress_quota::one_each(&place, &allow, report);
    let place = format!("{path}.deny");
    let deny = rules(&place, &policy.deny, &[], report);
    egress_quota::none(&place, &deny, report);
    let policy = EgressPolicy {
        name: policy.name.as_str().into(),
        subjects,
        mode: policy.mode.unwrap_or_default(),
        encrypted_client_hello: policy.encrypted_client_hello.unwrap_or_default(),
        allow,
        deny,
        allow_all: policy.allow_all,
        closed: policy.closed,
        quota: egress_quota::quota(path, policy.quota.as_ref(), report),
        delegate,
    };
    egress_unseen::warn(path, &policy, report);
    egress_denied::warn(path, &policy, report);
    policy
}

fn rules(
    path: &str,
    entries: &[EgressEntry],
    ports: &[u16],
    report: &mut Report<'_>,
) -> EgressRules {
    let entry = |(index, entry): (usize, &EgressEntry)| {
        rule(&format!("{path}[{index}]"), entry, ports, report)
    };
    entries.iter().enumerate().filter_map(entry).collect()
}

fn rule(
    path: &str,
    entry: &EgressEntry,
    default_ports: &[u16],
    report: &mut Report<'_>,
) -> Option<EgressRule> {
    let entry = match entry {
        EgressEntry::Host(host) => document::EgressRule {
            host: Some(host.clone()),
            ..document::EgressRule::default()
        },
        EgressEntry::Rule(rule) => rule.clone(),
    };
    let (text, target) = match (&entry.host, &entry.regex, &entry.cidr) {
        (Some(host), None, None) => (host, host_target(path, host, entry.public_suffix, report)?),
        (None, Some(regex), None) => (
            regex,
            Target::Regex(report.ok(path, text::whole_regex(regex))?),
        ),
        (None, None, Some(cidr)) => (cidr, network_target(path, cidr, report)?),
        _ => {
            report.error(path, "exactly one of host, regex and cidr is expected");
            return None;
        }
    };
    if entry
        .ports
        .as_ref()
        .is_some_and(|ports| ports.is_empty() || ports.contains(&0))
    {
        report.error(
            format!("{path}.ports"),
            "ports are numbers from 1 to 65535, at least one",
        );
    }
    for (index, method) in entry.methods.iter().enumerate() {
        report.ok(&format!("{path}.methods[{index}]"), text::method(method));
    }
    let mut paths = Vec::new();
    for (index, prefix) in entry.paths.iter().enumerate() {
        let parsed = report.ok(&format!("{path}.paths[{index}]"), text::path(prefix));
        paths.extend(parsed.map(|prefix| prefix.strip_suffix('/').unwrap_or(&prefix).to_owned()));
    }
    Some(EgressRule {
        text: text.as_str().into(),
        target,
        ports: entry
            .ports
            .clone()
            .unwrap_or_else(|| egress_inspection::default_ports(&entry, default_ports).to_vec()),
        methods: entry.methods.clone(),
        paths,
        until: until(path, entry.until, report),
        private: entry.private,
        raw: entry.raw,
        inspection: egress_inspection::of_entry(path, &entry, report),
        opens_tunnels: entry.inspect,
        originates_tls: entry.originate_tls,
        quota: egress_quota::quota(path, entry.quota.as_deref(), report),
    })
}

/// When an entry ends. One that has ended is told and stays: whoever asks for its destination
/// is told so as well.
fn until(
    path: &str,
    until: Option<document::Timestamp>,
    report: &mut Report<'_>,
) -> Option<SystemTime> {
    let until = until?;
    if until.0 <= SystemTime::now() {
        report.warn(
            format!("{path}.until"),
            format!("the entry has ended: {until} is over"),
        );
    }
    Some(until.0)
}

fn host_target(
    path: &str,
    host: &str,
    public_suffix: bool,
    report: &mut Report<'_>,
) -> Option<Target> {
    if host == "*" {
        report.error_hint(
            path,
            "`*` allows everything",
            match path.contains(".delegate.") {
                true => "where any may be allowed, leave `delegate.allow` out",
                false => "where that is meant, say `allowAll: true`",
            },
        );
        return None;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() {
        report.error_hint(
            path,
            format!("{host:?} is an address"),
            "addresses are named with `cidr:`",
        );
        return None;
    }
    let pattern = report.ok(path, text::host_pattern(host))?;
    let (HostPattern::Exact(name) | HostPattern::Suffix(name)) = &pattern;
    if crate::egress::Host::parse(name).is_err()
        || matches!(
            crate::egress::Host::parse(name),
            Ok(crate::egress::Host::Address(_))
        )
    {
        report.error(
            path,
            format!("{host:?} can never be reached: it is not a name"),
        );
        return None;
    }
    if name == "localhost" || name.ends_with(".localhost") {
        report.error(
            path,
            format!("{host:?} can never be reached: loopback is always blocked"),
        );
        return None;
    }
    if crate::egress::is_ech_public_name(name) {
        report.warn(
            path,
            format!(
                "{name} is never reached: behind it any site of its provider may be meant (ECH)"
            ),
        );
    }
    // What is denied opens nothing, however much it is.
    if let HostPattern::Suffix(suffix) = &pattern
        && !public_suffix
        && !path.contains(".deny[")
        && crate::public_suffix::is_public(suffix)
    {
        report.error_hint(
            path,
            format!("{host:?} is everything below a public suffix"),
            "where that is meant, say `publicSuffix: true`",
        );
        return None;
    }
    Some(Target::Host(pattern))
}

fn network_target(path: &str, cidr: &str, report: &mut Report<'_>) -> Option<Target> {
    let (network, masked) = report.ok(path, parse_network(cidr))?;
    if masked {
        report.warn(
            path,
            format!("{cidr} has host bits set; {network} is meant"),
        );
    }
    let none = AddressSet::default();
    let ends = [network.network(), network.broadcast()];
    if ends
        .iter()
        .all(|end| AddressClass::of(*end, &none) == AddressClass::AlwaysBlocked)
        && network.prefix_len() >= 4
    {
        report.error(
            path,
            format!("{cidr} can never be reached: it is always blocked"),
        );
        return None;
    }
    Some(Target::Network(network))
}

fn limits(limits: Option<&document::EgressLimits>, report: &mut Report<'_>) -> EgressLimits {
    let default = EgressLimits::default();
    let Some(limits) = limits else { return default };
    for (field, number) in [
        ("maxQuotaCounts", limits.max_quota_counts),
        ("maxStreams", limits.max_streams),
    ] {
        if number == Some(0) {
            report.error(
                format!("egress.limits.{field}"),
                format!("{field} must be at least 1"),
            );
        }
    }
    let mut time = |field: &str, time: Option<document::Duration>, default| match time {
        Some(time) if time.0.is_zero() => {
            report.error(
                format!("egress.limits.{field}"),
                format!("{field} must be more than 0"),
            );
            default
        }
        Some(time) => time.0,
        None => default,
    };
    EgressLimits {
        max_connections: limits.max_connections.unwrap_or(default.max_connections),
        max_streams: limits.max_streams.unwrap_or(default.max_streams),
        handshake_timeout: time(
            "handshakeTimeout",
            limits.handshake_timeout,
            default.handshake_timeout,
        ),
        head_timeout: time("headTimeout", limits.head_timeout, default.head_timeout),
        max_head_size: limits
            .max_head_size
            .map_or(default.max_head_size, |size| size.0),
        connect_timeout: time(
            "connectTimeout",
            limits.connect_timeout,
            default.connect_timeout,
        ),
        client_hello_timeout: time(
            "clientHelloTimeout",
            limits.client_hello_timeout,
            default.client_hello_timeout,
        ),
        max_client_hello_size: limits
            .max_client_hello_size
            .map_or(default.max_client_hello_size, |size| size.0),
        idle_timeout: time("idleTimeout", limits.idle_timeout, default.idle_timeout),
        max_lifetime: time("maxLifetime", limits.max_lifetime, default.max_lifetime),
        max_quota_counts: limits.max_quota_counts.unwrap_or(default.max_quota_counts),
    }
}
