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
pub(crate) struct RequestContext {
    /// The snapshot that answers this request, from its first phase to its last.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Facts of the connection.
    pub facts: Option<Arc<ConnectionFacts>>,
    /// The request's id.
    pub request_id: String,
    /// When it began.
    pub started: Instant,
    /// The same, by the wall clock.
    pub time: SystemTime,
    /// The canonical view.
    pub view: RequestView,
    /// The rule it takes.
    pub rule: Option<Arc<CompiledRule>>,
    /// Bytes of the canonical path that the rule's prefix covered.
    pub prefix_len: usize,
    /// Why it was refused, where it was.
    pub refusal: Option<Refusal>,
    /// The backend it went to.
    pub backend: Option<Arc<CompiledBackend>>,
    /// The endpoint it went to.
    pub endpoint: Option<std::net::SocketAddr>,
    /// How often an endpoint was tried.
    pub attempts: u32,
    /// When the endpoint was chosen.
    pub upstream_started: Option<Instant>,
    /// When the endpoint's response head came.
    pub upstream_answered: Option<Instant>,
    /// Bytes of request body seen.
    pub body_bytes: u64,
    /// The body, or its first part, held back for inspection.
    pub held: HeldBody,
    /// The WAF transaction, while it runs.
    pub waf: Option<Transaction>,
    /// What the WAF decided, for the log.
    pub waf_outcome: WafOutcome,
}

/// A request body that was read before the backend was asked.
#[derive(Debug, Default)]
pub(crate) enum HeldBody {
    /// Nothing was read.
    #[default]
    None,
    /// The whole body; sent again on each attempt.
    Whole(Bytes, Hold),
    /// The first part; the rest streams behind it.
    Prefix(Bytes, Hold),
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
            held: HeldBody::None,
            waf: None,
            waf_outcome: WafOutcome::None,
        }
    }
}
