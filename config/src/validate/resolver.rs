//! Looking up the names of endpoints.

use super::{report::Report, text};
use crate::{document, model::Resolver};

pub(super) fn resolver(section: Option<&document::Resolver>, report: &mut Report<'_>) -> Resolver {
    let default = Resolver::default();
    let Some(section) = section else {
        return default;
    };
    let mut servers = Vec::new();
    for (index, server) in section.servers.iter().enumerate() {
        servers.extend(report.ok(
            &format!("resolver.servers[{index}]"),
            text::socket_address(server),
        ));
    }
    let mut positive = |field: &str, wanted: Option<document::Duration>, default| {
        if wanted.is_some_and(|time| time.0.is_zero()) {
            report.error(format!("resolver.{field}"), "a time must be more than 0");
        }
        wanted.map_or(default, |time| time.0)
    };
    let resolver = Resolver {
        servers,
        timeout: positive("timeout", section.timeout, default.timeout),
        min_ttl: positive("minTtl", section.min_ttl, default.min_ttl),
        max_ttl: positive("maxTtl", section.max_ttl, default.max_ttl),
    };
    if resolver.min_ttl > resolver.max_ttl {
        report.error(
            match section.max_ttl {
                Some(_) => "resolver.maxTtl",
                None => "resolver.minTtl",
            },
            format!(
                "maxTtl ({}) is shorter than minTtl ({})",
                document::Duration(resolver.max_ttl),
                document::Duration(resolver.min_ttl)
            ),
        );
    }
    resolver
}
