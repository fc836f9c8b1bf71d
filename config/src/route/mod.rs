//! Which rule a request takes.

mod table;

pub use table::{RouteMatch, RouteRequest, RouteTable};
