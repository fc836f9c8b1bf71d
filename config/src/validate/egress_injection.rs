//! What pods are given, so that their programs find the egress proxy.

use ipnet::IpNet;

use super::{egress_relay::relay, report::Report, text};
use crate::{
    document::{self, ConfigMapKey, Egress, InjectedIdentity},
    egress::{NoProxy, NoProxyEntry, ProxyUrl, is_subdomain},
    model::{ClusterTraffic, Identified, InjectedToken, PodInjection},
};

pub(super) const PLACE: &str = "egress.workloads.injection";
const EXPIRATION_SECONDS: u64 = 3600;
/// A token of a projected volume lives so long at least (`expirationSeconds` of Kubernetes).
const LEAST_EXPIRATION: u64 = 600;
/// What is gone should not be good for long.
const MOST_EXPIRATION: u64 = 86_400;
/// Largest key of a ConfigMap.
const MAX_KEY: usize = 253;
/// Entries of `noProxy`: environments are read by each program.
const MAX_NO_PROXY: usize = 200;

/// The section. There is none where its proxy cannot be read.
pub(super) fn injection(
    wanted: &document::PodInjection,
    section: &Egress,
    report: &mut Report<'_>,
) -> Option<PodInjection> {
    let proxy = wanted.proxy.parse::<ProxyUrl>();
    let proxy = proxy.map_err(|error| format!("{:?}: {error}", wanted.proxy));
    let proxy = report.ok(&format!("{PLACE}.proxy"), proxy);
    let identity = identity(wanted, proxy.as_ref(), section, report);
    let cluster_traffic = wanted.cluster_traffic.unwrap_or_default();
    let no_proxy = no_proxy(wanted, section, cluster_traffic, report);
    if let Some(trust) = &wanted.trust {
        config_map_key(&format!("{PLACE}.trust"), trust, report);
    }
    Some(PodInjection {
        proxy: proxy?,
        identity: identity?,
        cluster_traffic,
        no_proxy,
        trust: wanted.trust.clone(),
    })
}

fn identity(
    wanted: &document::PodInjection,
    proxy: Option<&ProxyUrl>,
    section: &Egress,
    report: &mut Report<'_>,
) -> Option<Identified> {
    let kind = wanted.identity.unwrap_or_default();
    if wanted.relay.is_some() && kind != InjectedIdentity::Relay {
        report.error(
            format!("{PLACE}.relay"),
            "there is a relay with `identity: relay` alone",
        );
    }
    if wanted.token.is_some() && kind == InjectedIdentity::None {
        report.error(
            format!("{PLACE}.token"),
            "with `identity: none` nobody shows a token",
        );
    }
    Some(match kind {
        InjectedIdentity::None => Identified::None,
        InjectedIdentity::Token => Identified::Token(token(wanted, section, report)?),
        InjectedIdentity::Relay => {
            let token = token(wanted, section, report);
            Identified::Relay(relay(wanted.relay.as_ref(), proxy, report)?, token?)
        }
    })
}

fn token(
    wanted: &document::PodInjection,
    section: &Egress,
    report: &mut Report<'_>,
) -> Option<InjectedToken> {
    let place = format!("{PLACE}.token");
    let wanted = wanted.token.clone().unwrap_or_default();
    let expiration = wanted.expiration.map(|time| time.0.as_secs());
    if expiration.is_some_and(|time| !(LEAST_EXPIRATION..=MOST_EXPIRATION).contains(&time)) {
        report.error(
            format!("{place}.expiration"),
            "expiration must be from 10m to 1d",
        );
    }
    let tokens = section.identity.as_ref();
    let tokens = tokens.and_then(|identity| identity.service_account_tokens.as_ref());
    let audience = wanted.audience.as_ref();
    let audience = audience.or(tokens.map(|tokens| &tokens.audience));
    let audience = audience.filter(|audience| !audience.is_empty());
    let Some(audience) = audience else {
        report.error_hint(
            format!("{place}.audience"),
            "the audience of the token is not known",
            "name it, or say `egress.identity.serviceAccountTokens`, which has one",
        );
        return None;
    };
    Some(InjectedToken {
        audience: audience.clone(),
        expiration_seconds: expiration.unwrap_or(EXPIRATION_SECONDS),
    })
}

/// What `NO_PROXY` has: the loopback, the cluster where programs go there by themselves, and what is named.
fn no_proxy(
    wanted: &document::PodInjection,
    section: &Egress,
    cluster_traffic: ClusterTraffic,
    report: &mut Report<'_>,
) -> NoProxy {
    let mut list = NoProxy::loopback();
    if cluster_traffic == ClusterTraffic::Direct {
        for suffix in ["svc", "cluster.local"] {
            list.add(NoProxyEntry::Suffix(suffix.to_owned()));
        }
        // What is wrong with them is told at their own place.
        let (ranges, _) =
            report.quiet(|report| text::networks("", &section.cluster_ranges, report));
        for range in ranges.iter() {
            // Not all clients live with those of IPv6.
            if let IpNet::V4(range) = range {
                list.add(NoProxyEntry::Range(range));
            }
        }
    }
    if wanted.no_proxy.len() > MAX_NO_PROXY {
        report.error(
            format!("{PLACE}.noProxy"),
            format!(
                "{} entries, and at most {MAX_NO_PROXY} are given to pods",
                wanted.no_proxy.len()
            ),
        );
    }
    for (index, entry) in wanted.no_proxy.iter().enumerate() {
        let place = format!("{PLACE}.noProxy[{index}]");
        let entry = entry.parse::<NoProxyEntry>();
        if let Some(entry) = report.ok(&place, entry.map_err(|error| error.to_string())) {
            list.add(entry);
        }
    }
    list
}

pub(super) fn config_map_key(place: &str, wanted: &ConfigMapKey, report: &mut Report<'_>) {
    if !is_subdomain(&wanted.config_map) {
        report.error(
            format!("{place}.configMap"),
            "not the name of a ConfigMap: small letters, digits, `-` and `.`",
        );
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let key = &wanted.key;
    let is_key = !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(plain);
    // Kubernetes refuses paths that lead out of a volume.
    if !is_key || key.starts_with("..") || key == "." {
        report.error(
            format!("{place}.key"),
            "not a key of a ConfigMap: letters, digits, `-`, `_` and `.`",
        );
    }
}
