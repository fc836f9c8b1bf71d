//! The ingress data plane: what happens to a request.
//!
//! ```text
//! connection   pingora-core reads the head
//! serve        pin the snapshot, request id, clock
//! decide       1 normalise  2 route  3 access  4 limit  5 size  6 inspect
//! serve        7 redirects are answered here
//! exchange     8 choose an endpoint, send, pass its response on; upgrades are relayed
//! finish       WAF audit, metrics, access log
//! ```
//!
//! Every step is a function of the snapshot and a view of the request; an early
//! answer is one type, [`Refusal`], written, logged and counted in one place.

mod admission;
mod affinity;
mod bad_head;
mod client;
mod connection;
mod context;
mod deadline;
mod decide;
mod exchange;
mod finish;
mod forward;
mod headers;
mod redirect;
mod refusal;
mod request_id;
mod retry;
mod serve;
mod upgrade;
mod view;

pub use refusal::{Refusal, Stage};
pub use serve::{Ingress, Services};

use context::RequestContext;
use pingora::protocols::http::ServerSession as Session;
