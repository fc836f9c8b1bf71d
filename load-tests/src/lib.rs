//! Load tests: what Portcullis costs for each request, next to its peers, what a
//! reload of many hosts takes ([`reload`]), how soon Ingresses are served ([`ingresses`]), and what
//! tunnels cost ([`egress`]).
//!
//! ```text
//! compare -> scenario -> round -> peer: start, probe, warm up, measure, stop
//!                                   |                            |
//!                      wrk or h2load -> peer -> upstream    cpu time of the peer's
//!                           driver     peers    upstream      process tree / requests
//!                                                                |
//!                                           stats (median, range, ratios) -> report
//! ```
//!
//! Everything runs on the loopback interface, on free ports, in processes that
//! this crate starts and stops itself. It never judges a single round: numbers
//! are medians over rounds, and ratios are taken within a round, so that a
//! machine that slows down for a while slows down every peer alike.

pub mod backend;
pub mod bench;
pub mod certificate;
pub mod compare;
pub mod cpu;
pub mod driver;
pub mod egress;
pub mod ingresses;
pub mod machine;
pub mod peers;
pub mod probe;
pub mod process;
pub mod profile;
pub mod programs;
pub mod reload;
pub mod report;
pub mod scenario;
pub mod stats;
pub mod upstream;
pub mod waf;
