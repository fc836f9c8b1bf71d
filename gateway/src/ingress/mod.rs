//! The ingress data plane: what happens to a request, in pingora's phases.
//!
//! ```text
//! early_request_filter    pin the snapshot, request id, clock
//! request_filter          1 normalise  2 route  3 access  4 limit  5 size  6 inspect
//!                         7 WebSockets and redirects are answered here
//! upstream_peer           choose an endpoint
//! upstream_request_filter forwarded headers, route changes
//! response_filter         WAF on the response head, route changes, request id
//! logging                 WAF audit, access log, metrics
//! ```
//!
//! Every step is a function of the snapshot and a view of the request; an early
//! answer is one type, [`Refusal`], written, logged and counted in one place.

mod bad_head;
mod context;
mod forward;
mod handler;
mod headers;
mod peer;
mod proxy;
mod redirect;
mod refusal;
mod request_id;
mod upgrade;
mod view;

pub use handler::IngressHandler;
pub use proxy::{Ingress, Services};
pub use refusal::{Refusal, Stage};

pub use context::RequestContext;
