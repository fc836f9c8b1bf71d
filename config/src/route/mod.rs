//! Which rule a request takes, and the one form of path and host that decides it.

mod canary;
mod canonical;
mod condition;
mod cookie;
mod host;
mod hosts;
mod rewrite;
mod table;
mod template;

pub use canary::CanaryChoice;
pub use canonical::{CanonicalPath, PathProblem, canonical_path};
pub use cookie::{cookie, cookies};
pub use host::canonical_host;
pub use hosts::HostTable;
pub use rewrite::{RewriteFrom, rewrite_path};
pub use table::{Reached, RouteMatch, RouteRequest, RouteTable};
pub use template::{Group, PathTemplate};
