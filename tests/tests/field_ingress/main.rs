//! Cases from public reports about ingress, each a test named by its id.
//!
//! Those that wait for a feature are in `tests/corpus/field-cases.yaml`, which
//! `field_cases.rs` holds against the collection.

mod backends;
mod certificates;
mod framing;
mod policies;
mod routing;

use std::net::SocketAddr;

use portcullis_tests::{raw, status_of};

/// Asks for a target of a host, with more fields; the whole answer.
fn ask(gateway: SocketAddr, host: &str, target: &str, fields: &str) -> String {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    raw(gateway, request.as_bytes())
}

/// The status, and for a 200 the body: the backend's name and the target that it got.
fn reached(gateway: SocketAddr, host: &str, target: &str) -> String {
    let answer = ask(gateway, host, target, "");
    match (status_of(&answer), answer.split_once("\r\n\r\n")) {
        (200, Some((_, body))) => body.to_owned(),
        (status, _) => status.to_string(),
    }
}
