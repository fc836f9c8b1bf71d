//! What tunnels cost: Portcullis, squid and tinyproxy in front of one target.
//!
//! ```text
//! round -> scenario -> proxy: start, probe, measure, stop
//!                                     |
//!          clients -> CONNECT -> proxy -> target        cpu time and memory of the
//!            this process                this process     proxy's process tree
//!                                     |
//!                     stats (median, range, ratios) -> report, targets
//! ```
//!
//! Each proxy has the same list of 200 destinations and writes a line for each connection. The clients
//! and the target are threads of this process, whose time counts for nobody.

mod client;
mod measure;
mod memory;
mod proxies;
mod report;
mod target;

pub use client::Client;
pub use measure::{Bulk, Connect, Idle, Settings};
pub use proxies::Proxy;
pub use report::{Quantity, Report};
pub use target::Target;

use clap::ValueEnum;
use serde::Serialize;

/// Destinations on the list of each proxy. Tunnels go to all of them in turn.
pub const DESTINATIONS: usize = 200;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Tunnels that are opened, used for one small exchange, and closed.
    Connect,
    /// Much data through one tunnel.
    Bulk,
    /// Tunnels that stay open with nothing to say.
    Idle,
}

impl Scenario {
    /// Every scenario, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Bulk, Self::Idle];
}
