//! What pods are given, so that their programs find the egress proxy.

use std::net::IpAddr;

use super::{egress_relay::relay, report::Report, text};
use crate::{
    access::parse_network,
    document::{self, ConfigMapKey, Egress, InjectedIdentity},
    egress::{Host, ProxyUrl, is_subdomain},
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

/// What `NO_PROXY` has: what curl, wget, Go, Python and Node read alike. Suffixes begin with a dot, and
/// nothing has a star. Ranges are read by some of them alone, and those of IPv6 are none of it: Python's
/// httpx takes such a range for a host, and then makes no client at all (`InvalidURL`).
fn no_proxy(
    wanted: &document::PodInjection,
    section: &Egress,
    cluster_traffic: ClusterTraffic,
    report: &mut Report<'_>,
) -> Vec<String> {
    let mut list: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if cluster_traffic == ClusterTraffic::Direct {
        list.extend([".svc", ".cluster.local"].map(str::to_owned));
        // What is wrong with them is told at their own place.
        let (ranges, _) =
            report.quiet(|report| text::networks("", &section.cluster_ranges, report));
        let v4 = ranges.iter().filter(|range| range.addr().is_ipv4());
        list.extend(v4.map(|range| range.to_string()));
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
        if let Some(entry) = report.ok(&place, no_proxy_entry(entry))
            && !list.contains(&entry)
        {
            list.push(entry);
        }
    }
    list
}

fn no_proxy_entry(entry: &str) -> Result<String, String> {
    if entry.contains('/') {
        let (range, _) = parse_network(entry)?;
        return match range.addr() {
            IpAddr::V4(_) => Ok(range.to_string()),
            IpAddr::V6(_) => Err(format!(
                "{entry:?}: Python's httpx fails at a range of IPv6, and with it every program that uses it: name single addresses, or a `.suffix`"
            )),
        };
    }
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = entry.strip_prefix('.').unwrap_or(entry);
    match Host::parse(name) {
        Ok(Host::Name(_)) if !name.ends_with('.') => Ok(entry.to_ascii_lowercase()),
        _ => Err(format!(
            "{entry:?} is not read alike by all clients: a name, `.suffix`, an address or a range of IPv4 is"
        )),
    }
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
