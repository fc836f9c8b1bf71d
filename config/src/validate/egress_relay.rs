//! The relay that pods are given.

use super::{
    egress_injection::{PLACE, config_map_key},
    report::Report,
};
use crate::{
    document::{self, ByteSize},
    egress::ProxyUrl,
    model::{InjectedRelay, MilliCpu},
};

const PORT: u16 = 3128;
const MEMORY_LIMIT: u64 = 64 << 20;
const LEAST_MEMORY: u64 = 16 << 20;
/// What it asks for; a limit that is lower is all that it asks for.
const MEMORY_REQUEST: u64 = 32 << 20;
const CPU_REQUEST: MilliCpu = MilliCpu(10);

/// The relay, which goes to `proxy`; that is `None` where it cannot be read.
pub(super) fn relay(
    wanted: Option<&document::InjectedRelay>,
    proxy: Option<&ProxyUrl>,
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
    let memory_request = wanted
        .memory_request
        .map_or(memory_limit.min(MEMORY_REQUEST), |size| size.0);
    if memory_request > memory_limit {
        let (request, limit) = (ByteSize(memory_request), ByteSize(memory_limit));
        report.error(
            format!("{place}.memoryRequest"),
            format!("{request} is more than memoryLimit, {limit}"),
        );
    }
    if let Some(ca) = &wanted.proxy_ca {
        let place = format!("{place}.proxyCa");
        config_map_key(&place, ca, report);
        if proxy.is_some_and(|proxy| !proxy.is_tls()) {
            report.error_hint(
                place,
                "a proxy without TLS shows no certificate, and the relay does not begin with authorities for one",
                "say `proxy: https://...`, or leave it out",
            );
        }
    }
    let (cpu_request, cpu_limit) = cpu(&place, wanted, report);
    Some(InjectedRelay {
        image: wanted.image.clone(),
        port: wanted.port.unwrap_or(PORT),
        memory_limit,
        memory_request,
        cpu_request,
        cpu_limit,
        proxy_ca: wanted.proxy_ca.clone(),
    })
}

/// What it asks for of processors, and its limit.
fn cpu(
    place: &str,
    wanted: &document::InjectedRelay,
    report: &mut Report<'_>,
) -> (MilliCpu, Option<MilliCpu>) {
    let mut read = |field: &str, quantity: &Option<String>| {
        let quantity = quantity.as_ref()?;
        report.ok(&format!("{place}.{field}"), quantity.parse::<MilliCpu>())
    };
    let limit = read("cpuLimit", &wanted.cpu_limit);
    let request = read("cpuRequest", &wanted.cpu_request);
    if let (Some(request), Some(limit)) = (request, limit)
        && request > limit
    {
        report.error(
            format!("{place}.cpuRequest"),
            format!("{request} is more than cpuLimit, {limit}"),
        );
    }
    let default = limit.map_or(CPU_REQUEST, |limit| limit.min(CPU_REQUEST));
    (request.unwrap_or(default), limit)
}
