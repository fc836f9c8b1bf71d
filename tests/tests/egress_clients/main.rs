//! What clients of forward proxies have reported, against the real proxy: each case of
//! `egress-clients.yaml` is a test named by its id (`field_cases.rs` holds the two together).
//!
//! A case that has a loopback address as its target has a public one here, which the test map leads
//! to this machine after it was judged: nothing opens loopback itself.

mod addresses;
mod apt;
mod around;
mod chain;
mod clients;
mod idle;
mod names;
mod reload;
mod report;
mod requests;
mod sessions;
mod settings;
mod tls;
mod tunnels;

use portcullis_tests::{
    check,
    egress_site::{PUBLIC, config},
};

/// Scripted answers by which names have a public address.
fn public(names: &[&str]) -> Vec<String> {
    let answer = |name: &&str| format!("{name}={PUBLIC}");
    names.iter().map(answer).collect()
}

/// The problems that `portcullis check` has with policies; `Err` where they are refused.
fn checked(policies: &str) -> Result<String, String> {
    match check(&config("", policies)) {
        (true, told) => Ok(told),
        (false, told) => Err(told),
    }
}
