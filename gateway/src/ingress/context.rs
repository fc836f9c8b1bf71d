//! What one request carries through the phases.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use portcullis_waf::Transaction;

use super::{Refusal, view::RequestView};
use crate::{
    inspect::{Hold, WafOutcome},
    listen::ConnectionFacts,
    snapshot::{CompiledBackend, CompiledRule, Snapshot},
};

/// The state of one request.
pub struct RequestContext {
    /// The snapshot that answers this request, from its first phase to its last.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// Facts of the connection.
    pub(crate) facts: Option<Arc<ConnectionFacts>>,
    /// The request's id.
    pub(crate) request_id: String,
    /// When it began.
    pub(crate) started: Instant,
    /// The same, by the wall clock.
    pub(crate) time: SystemTime,
    /// The canonical view.
    pub(crate) view: RequestView,
    /// The rule it takes.
    pub(crate) rule: Option<Arc<CompiledRule>>,
    /// Bytes of the canonical path that the rule's prefix covered.
    pub(crate) prefix_len: usize,
    /// Why it was refused, where it was.
    pub(crate) refusal: Option<Refusal>,
    /// The backend it went to.
    pub(crate) backend: Option<Arc<CompiledBackend>>,
    /// The endpoint it went to.
    pub(crate) endpoint: Option<std::net::SocketAddr>,
    /// How often an endpoint was tried.
    pub(crate) attempts: u32,
    /// When the endpoint was chosen.
    pub(crate) upstream_started: Option<Instant>,
    /// When the endpoint's response head came.
    pub(crate) upstream_answered: Option<Instant>,
    /// Bytes of request body seen.
    pub(crate) body_bytes: u64,
    /// Bytes to the client behind a 101.
    pub(crate) upgraded_bytes: u64,
    /// The body, or its first part, held back for inspection.
    pub(crate) held: HeldBody,
    /// The WAF transaction, while it runs.
    /// Boxed: a request that no rule looks at must not carry its room about.
    pub(crate) waf: Option<Box<Transaction>>,
    /// What the WAF decided, for the log.
    pub(crate) waf_outcome: WafOutcome,
}

/// A request body that was read before the backend was asked.
#[derive(Debug, Default)]
pub(crate) enum HeldBody {
    /// Nothing was read.
    #[default]
    None,
    /// The whole body; sent again on each attempt.
    Whole(
        Bytes,
        #[expect(dead_code, reason = "gives the memory back when the request ends")] Hold,
    ),
    /// The first part; the rest streams behind it.
    Prefix {
        /// What was read; empty once it has been sent.
        bytes: Bytes,
        /// Whether pingora holds some of it too, and will pass that on first.
        repeated: bool,
        #[expect(dead_code, reason = "gives the memory back when the request ends")]
        hold: Hold,
    },
}

impl RequestContext {
    pub(crate) fn new() -> Self {
        Self {
            snapshot: None,
            facts: None,
            request_id: String::new(),
            started: Instant::now(),
            time: SystemTime::now(),
            view: RequestView::default(),
            rule: None,
            prefix_len: 0,
            refusal: None,
            backend: None,
            endpoint: None,
            attempts: 0,
            upstream_started: None,
            upstream_answered: None,
            body_bytes: 0,
            upgraded_bytes: 0,
            held: HeldBody::None,
            waf: None,
            waf_outcome: WafOutcome::None,
        }
    }
}
