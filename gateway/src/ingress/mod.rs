//! The ingress data plane: what happens to a request.
//!
//! ```text
//! connection   pingora-core reads the head
//! serve        pin the snapshot, request id, clock
//! decide       1 normalise  2 route  3 access  4 limit  5 identify  6 size  7 inspect
//! serve        8 redirects and fixed responses are answered here
//! exchange     9 choose an endpoint, send, pass its response on; upgrades are relayed
//! finish       WAF audit, metrics, access log
//! ```
//!
//! Every step is a function of the snapshot and a view of the request; an early
//! answer is one type, [`Refusal`], written, logged and counted in one place.

mod admission;
mod affinity;
mod answer;
mod ask;
mod bad_head;
mod client;
mod compress;
mod connection;
mod context;
mod cors;
mod deadline;
mod decide;
mod encoder;
mod error_page;
mod exchange;
mod external;
mod finish;
mod forward;
mod grpc;
mod headers;
mod identify;
mod identity;
mod lifetime;
mod mirror;
mod misdirected;
mod question;
mod redirect;
mod refusal;
mod release;
mod request_id;
mod response;
mod retry;
mod rewrite;
mod serve;
mod throttle;
mod upgrade;
mod view;

pub(crate) use grpc::is_grpc;
pub use refusal::{Refusal, Stage};
pub use serve::{Ingress, Services};
pub(crate) use view::authority;

use context::RequestContext;
use pingora::protocols::http::ServerSession as Session;
