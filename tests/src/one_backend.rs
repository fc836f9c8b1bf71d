//! A configuration that many tests begin with.

use std::net::SocketAddr;

/// The configuration of a gateway with one backend, `one`, of these endpoints; `settings` are
/// more keys of it.
pub fn one_backend(endpoints: &[SocketAddr], settings: &str) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| format!("{{address: {address}}}"))
        .collect();
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, endpoints: [{}], {settings}}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        endpoints.join(", ")
    )
}
