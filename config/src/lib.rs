//! The language of the Portcullis gateway: what people write, what it means,
//! and the decisions that follow from it.
//!
//! ```text
//! YAML --read--> Document --validate--> Model --+--> RouteTable::find
//!                          every Problem        +--> AccessList::judge, client_address
//!                                               +--> Cors::share_with
//!                                               +--> Compression::decide
//!                                               +--> EgressPolicy::decide, AddressClass::of
//!                                               +--> dump
//! ```
//!
//! Nothing here does I/O or waits: sockets, clusters and clocks are the gateway's.

pub mod access;
pub mod compression;
pub mod cors;
pub mod document;
pub mod dump;
pub mod egress;
pub mod model;
pub mod problem;
pub mod public_suffix;
pub mod read;
pub mod route;
pub mod validate;
