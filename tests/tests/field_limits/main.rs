//! Cases from public reports about client addresses, rate limits, and the reading and
//! reloading of configuration, each a test named by its id.
//!
//! Those that wait for a feature are in `tests/corpus/field-cases.yaml`, which
//! `field_cases.rs` holds against the collection.

mod addresses;
mod config_maps;
mod proxy_protocol;
mod rates;
mod reading;
mod reloading;

use std::net::{IpAddr, SocketAddr};

use portcullis_tests::Raw;

/// Asks for `/` of `a.test` from an address of the loopback network.
fn ask_from(source: impl Into<IpAddr>, gateway: SocketAddr, path: &str, fields: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n");
    Raw::connect_from(source.into(), gateway)
        .send(request.as_bytes())
        .read_all()
}

fn ask(gateway: SocketAddr, fields: &str) -> String {
    ask_from([127, 0, 0, 1], gateway, "/", fields)
}
