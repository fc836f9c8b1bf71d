//! What one request carries through the phases.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method};
use portcullis_config::route::Reached;
use portcullis_waf::Transaction;

use super::{
    Refusal, compress::Compressor, identity::Identity, mirror::Mirroring,
    request_id::new_request_id, response::Passage, throttle::Throttle, view::RequestView,
};
use crate::{
    inspect::{Hold, WafOutcome},
    listen::ConnectionFacts,
    snapshot::{CompiledBackend, CompiledRule, InFlight, Place, Snapshot},
};

/// The state of one request.
pub(super) struct RequestContext {
    /// The snapshot that answers this request, from its first phase to its last.
    pub(super) snapshot: Arc<Snapshot>,
    /// Facts of the connection.
    pub(super) facts: Arc<ConnectionFacts>,
    /// The request's id.
    pub(super) request_id: String,
    /// When it began.
    pub(super) started: Instant,
    /// The same, by the wall clock.
    pub(super) time: SystemTime,
    /// The canonical view.
    pub(super) view: RequestView,
    /// The rule it takes.
    pub(super) rule: Option<Arc<CompiledRule>>,
    /// Whether it is sent on to https.
    pub(super) to_https: bool,
    /// The method that it asks for, where it is a preflight.
    pub(super) preflight_for: Option<Method>,
    /// Whether it is a preflight that the gateway answers.
    pub(super) preflight: bool,
    /// By which kind of path its rule was found.
    pub(super) reached: Reached,
    /// Target for the backend, where a rule rewrites it.
    pub(super) rewritten: Option<String>,
    /// Who the client is, where it was asked.
    pub(super) identity: Option<Box<Identity>>,
    /// How fast its response is sent, where that is limited.
    pub(super) throttle: Option<Box<Throttle>>,
    /// Why it was refused, where it was.
    pub(super) refusal: Option<Refusal>,
    /// The backend it went to.
    pub(super) backend: Option<Arc<CompiledBackend>>,
    /// The endpoint it went to.
    pub(super) endpoint: Option<SocketAddr>,
    /// The cookie that names its endpoint, where its client is to learn it.
    pub(super) affinity_cookie: Option<HeaderValue>,
    /// The cookie that names its backend, where its client is to learn it.
    pub(super) sticky_cookie: Option<HeaderValue>,
    /// The place that it has at the backend.
    pub(super) place: Option<Place>,
    /// That it is at work.
    pub(super) at_work: Option<InFlight>,
    /// Endpoints that failed this request.
    pub(super) tried: Vec<SocketAddr>,
    /// When it must have been answered.
    pub(super) deadline: Option<Instant>,
    /// How often an endpoint was tried.
    pub(super) attempts: u32,
    /// When the endpoint was chosen.
    pub(super) upstream_started: Option<Instant>,
    /// When the endpoint's response head came.
    pub(super) upstream_answered: Option<Instant>,
    /// Bytes of request body seen.
    pub(super) body_bytes: u64,
    /// The body, or its first part, held back for inspection.
    pub(super) held: HeldBody,
    /// Whether copies of it were thought of.
    pub(super) mirrored: bool,
    /// Copies that wait for its body. Boxed: few requests have any.
    pub(super) mirroring: Option<Box<Mirroring>>,
    /// Whether a part of a backend's response may have left.
    pub(super) begun: bool,
    /// How the response goes to the client.
    pub(super) passage: Passage,
    /// The response body, while it is compressed. Boxed: most are not.
    pub(super) compressor: Option<Box<Compressor>>,
    /// The WAF transaction, while it runs.
    /// Boxed: a request that no rule looks at must not carry its room about.
    pub(super) waf: Option<Box<Transaction>>,
    /// The memory that it takes for bodies.
    pub(super) waf_memory: Option<Hold>,
    /// What the WAF decided, for the log.
    pub(super) waf_outcome: WafOutcome,
}

/// A request body that was read before the backend was asked.
#[derive(Debug, Default)]
pub(super) enum HeldBody {
    /// Nothing was read.
    #[default]
    None,
    /// The whole body; sent again on each attempt.
    Whole(
        Bytes,
        #[expect(dead_code, reason = "gives the memory back when the request ends")] Hold,
    ),
    /// The first part; the rest streams behind it.
    Prefix(
        Bytes,
        #[expect(dead_code, reason = "gives the memory back when the request ends")] Hold,
    ),
    /// The first part, which there was no memory to hold; no rule sees it, and the rest
    /// streams behind it.
    Unseen(
        Bytes,
        #[expect(dead_code, reason = "gives the memory back when the request ends")] Hold,
    ),
}

impl RequestContext {
    /// Begins a request on a connection; from here on it is answered from this snapshot.
    pub(super) fn new(snapshot: Arc<Snapshot>, facts: Arc<ConnectionFacts>) -> Self {
        Self {
            snapshot,
            facts,
            request_id: new_request_id(),
            started: Instant::now(),
            time: SystemTime::now(),
            view: RequestView::default(),
            rule: None,
            to_https: false,
            preflight_for: None,
            preflight: false,
            reached: Reached::default(),
            rewritten: None,
            identity: None,
            throttle: None,
            refusal: None,
            backend: None,
            endpoint: None,
            affinity_cookie: None,
            sticky_cookie: None,
            place: None,
            at_work: None,
            tried: Vec::new(),
            deadline: None,
            attempts: 0,
            upstream_started: None,
            upstream_answered: None,
            body_bytes: 0,
            held: HeldBody::None,
            mirrored: false,
            mirroring: None,
            begun: false,
            passage: Passage::Stream,
            compressor: None,
            waf: None,
            waf_memory: None,
            waf_outcome: WafOutcome::None,
        }
    }

    /// Whether bytes are being compressed that the client waits for.
    pub(super) fn compresses(&self) -> bool {
        let compressor = self.compressor.as_ref();
        compressor.is_some_and(|compressor| compressor.is_behind())
    }

    /// The id as a field value.
    pub(super) fn request_id_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.request_id)
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}
