//! What `portcullis demo` needs beside the gateway: a backend, certificates, a
//! configuration and destinations for the egress proxy, all on this machine.

mod backend;
mod certificates;
mod config;
mod guide;

pub use backend::Backends;
pub use certificates::DemoCertificates;
pub use config::{DEMO_DESTINATION, DEMO_HOST, render};
pub use guide::{Addresses, guide};
