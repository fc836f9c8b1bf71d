//! What pods are given, so that their programs find the egress proxy.

use std::net::IpAddr;

use super::{report::Report, text};
use crate::{
    access::parse_network,
    document::{self, ConfigMapKey, Egress, InjectedIdentity},
    egress::{Host, ProxyUrl, is_subdomain},
    model::{ClusterTraffic, Identified, InjectedRelay, InjectedToken, PodInjection},
};

const PLACE: &str = "egress.workloads.injection";
const RELAY_PORT: u16 = 3128;
const MEMORY_LIMIT: u64 = 64 << 20;
const LEAST_MEMORY: u64 = 16 << 20;
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
    let identity = identity(wanted, section, report);
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
            Identified::Relay(relay(wanted.relay.as_ref(), report)?, token?)
        }
    })
}

fn relay(
    wanted: Option<&document::InjectedRelay>,
    report: &mut Report<'_>,
) -> Option<InjectedRelay> {
    let place = format!("{PLACE}.relay");
    let Some(wanted) = wanted else {
        report.error_hint(
            &place,
            "`identity: relay`, the default, needs the image of the relay",
            "`relay: {image: ...}`; or `identity: token`, or `identity: none`",
        );
        return None;
    };
    let is_letter = |byte: u8| byte.is_ascii_graphic();
    if wanted.image.is_empty() || !wanted.image.bytes().all(is_letter) {
        report.error(format!("{place}.image"), "not the name of an image");
    }
    // The relay runs as a user without rights over lower ports.
    if wanted.port.is_some_and(|port| port < 1024) {
        report.error(format!("{place}.port"), "port must be 1024 or more");
    }
    let memory_limit = wanted.memory_limit.map_or(MEMORY_LIMIT, |size| size.0);
    if memory_limit < LEAST_MEMORY {
        report.error(
            format!("{place}.memoryLimit"),
            "memoryLimit must be at least 16MiB",
        );
    }
    if let Some(ca) = &wanted.proxy_ca {
        config_map_key(&format!("{place}.proxyCa"), ca, report);
    }
    Some(InjectedRelay {
        image: wanted.image.clone(),
        port: wanted.port.unwrap_or(RELAY_PORT),
        memory_limit,
        proxy_ca: wanted.proxy_ca.clone(),
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
/// nothing has a star. Ranges are read by some of them alone.
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
        list.extend(ranges.iter().map(|range| range.to_string()));
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
        return parse_network(entry).map(|(range, _)| range.to_string());
    }
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = entry.strip_prefix('.').unwrap_or(entry);
    match Host::parse(name) {
        Ok(Host::Name(_)) if !name.ends_with('.') => Ok(entry.to_ascii_lowercase()),
        _ => Err(format!(
            "{entry:?} is not read alike by all clients: a name, `.suffix`, an address or a CIDR range is"
        )),
    }
}

fn config_map_key(place: &str, wanted: &ConfigMapKey, report: &mut Report<'_>) {
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
