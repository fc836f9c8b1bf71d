//! A resolver of DNS names.
//!
//! Never `getaddrinfo`: it reads `127.1` as an address, blocks, and tells no time to live.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};

/// Attempts at the DNS servers within the time of one look-up.
const ATTEMPTS: usize = 2;

/// How names are looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dns<'a> {
    /// The servers; none means the system's.
    pub(crate) servers: &'a [SocketAddr],
    /// Time for a look-up with all its attempts.
    pub(crate) timeout: Duration,
    /// Names remembered at once.
    pub(crate) cache_entries: u32,
    /// Which addresses are asked for.
    pub(crate) families: LookupIpStrategy,
}

/// Makes a resolver.
///
/// # Errors
/// When the system's DNS configuration cannot be read.
pub(crate) fn resolver(dns: &Dns<'_>) -> Result<TokioResolver, String> {
    let mut builder = if dns.servers.is_empty() {
        TokioResolver::builder_tokio()
            .map_err(|error| format!("the system's DNS configuration: {error}"))?
    } else {
        let servers = dns.servers.iter().map(|server| {
            let connections =
                [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = dns.timeout / u32::try_from(ATTEMPTS).unwrap_or(1);
    options.attempts = ATTEMPTS;
    options.cache_size = u64::from(dns.cache_entries);
    options.ip_strategy = dns.families;
    builder
        .build()
        .map_err(|error| format!("the DNS resolver: {error}"))
}
