//! Which rule a request takes, and the one form of path and host that decides it.

mod canonical;
mod host;
mod hosts;
mod table;

pub use canonical::{CanonicalPath, PathProblem, canonical_path};
pub use host::canonical_host;
pub use hosts::HostTable;
pub use table::{RouteMatch, RouteRequest, RouteTable};
