//! The harness of the end-to-end tests: the real binary on free ports, real
//! backends, real clients.
//!
//! Everything is on loopback, bounded in time, and ends with the test that
//! started it. A test waits for conditions with a deadline, never for a time.

mod backend;
mod binary;
mod certificates;
mod client;
mod client_hello;
mod cluster;
mod datagrams;
mod dns;
mod echo;
pub mod egress_site;
mod file_site;
mod gateway;
mod grpc;
mod inside;
mod load;
mod mutants;
mod mutations;
mod nobody;
mod one_backend;
mod packages;
mod peers;
mod raw;
mod real_clients;
pub mod relay_site;
mod said;
mod scripted;
mod squid;
mod token_issuer;

pub use backend::{Backend, Handshake, Recorder, Seen};
pub use binary::{cargo, check, portcullis};
pub use certificates::{Authority, ClientCertificate, replace};
pub use client::{Client, h2c, https_client, tls_stream_through};
pub use client_hello::{with_ech, with_padding};
pub use cluster::{Cluster, cluster};
pub use datagrams::{Received, UdpClient, UdpEcho};
pub use dns::Dns;
pub use echo::Echo;
pub use file_site::FileSite;
pub use gateway::{Gateway, swap_config_map, wait_for};
pub use grpc::GrpcHealth;
pub use inside::Inside;
pub use load::{Asked, Failure, Load};
pub use mutants::{Change, MUTANT, copy_with_mutants, root};
pub use mutations::{Mutation, Mutations};
pub use nobody::Nobody;
pub use one_backend::one_backend;
pub use packages::Packages;
pub use peers::{Peer, PeerSeen, installed};
pub use raw::{Raw, raw, status_of};
pub use real_clients::{Printed, RealClients};
pub use scripted::{Line, Scripted};
pub use squid::Squid;
pub use token_issuer::TokenIssuer;

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
