//! The Portcullis gateway: one process that guards a cluster in both directions.
//!
//! ```text
//! files -> Document -> validate -> Model -> compile -> Snapshot -> ArcSwap
//!                                                                    |
//! accept -> PROXY header -> TLS -> ingress: route, access, limit, inspect, forward
//!                               -> egress:  decide, resolve, judge, dial, tunnel
//! ```

pub mod admin;
pub mod cli;
pub mod demo;
mod descriptors;
mod dns;
mod document_hash;
pub mod egress;
mod egress_clients;
pub mod egress_tools;
pub mod files;
pub mod gateway;
mod hop_by_hop;
pub mod identity;
pub mod ingress;
pub mod inspect;
pub mod kube;
pub mod listen;
pub mod load;
mod places;
mod relay;
mod retry;
mod slots;
pub mod snapshot;
pub mod source;
pub mod tcp;
pub mod telemetry;
pub mod tls;
mod token;
pub mod udp;
mod upstream;
mod within;
