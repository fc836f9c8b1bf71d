//! The state of one request, and its way through phases 1 to 5.
//!
//! ```text
//! begin -> connection, request_line, request_header* -> request_headers_end   phase 1
//!       -> request_body*                             -> request_body_end      phase 2
//!       -> response_head, response_header*           -> response_headers_end  phase 3
//!       -> response_body*                            -> response_body_end     phase 4
//!       -> finish                                                             phase 5
//! ```
//!
//! What exceeds a limit is noted where it arrives and becomes the verdict of the
//! next phase: a transaction that could not see everything does not say
//! [`Verdict::Continue`]. After an interruption every later phase repeats it.

mod evaluate;
mod fields;
mod memory;
mod phase;
mod record;
mod request;
mod response;
mod secrecy;
mod state;
mod tx;
mod tx_name;

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(crate) use fields::{Field, Fields};
use secrecy::SecretSources;
pub(crate) use state::{Control, State};
pub(crate) use tx::Tx;
pub(crate) use tx_name::TxName;

use crate::{
    actions::Scope,
    audit::{AuditRecord, Match, NotInspected, Part, Reason},
    body::MultipartFlags,
    collections::{Collections, OpenCollections},
    compile::RuleSet,
    limits::Limits,
    prefilter::Candidates,
    secrets::{SecretNames, Values},
    variables::Variable,
    verdict::{EngineMode, Interruption},
};

/// How a transaction runs.
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// The strictest mode the transaction may run in. `SecRuleEngine` and
    /// `ctl:ruleEngine` can lower it, never raise it.
    pub mode: EngineMode,
    /// Bounds on memory and work; the rules can narrow some of them.
    pub limits: Limits,
    /// Identifier, `UNIQUE_ID` in rules.
    pub unique_id: String,
    /// The time at which the request began.
    pub time: SystemTime,
    /// What rules remember from one transaction to the next. Without it,
    /// collections end with the transaction.
    pub collections: Option<Arc<Collections>>,
    /// Names whose values are left out of the record.
    pub secrets: Arc<SecretNames>,
}

impl TransactionOptions {
    /// Makes options with the default [`Limits`].
    pub fn new(mode: EngineMode, unique_id: String, time: SystemTime) -> Self {
        Self {
            mode,
            limits: Limits::default(),
            unique_id,
            time,
            collections: None,
            secrets: Arc::default(),
        }
    }
}

/// The two ends of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Address of the client, after trusted proxies were taken into account.
    pub client: IpAddr,
    /// Port of the client.
    pub client_port: u16,
    /// Address that was connected to.
    pub server: IpAddr,
    /// Port that was connected to.
    pub server_port: u16,
}

/// One request and its response, on their way through the rules.
///
/// Methods are to be called in the order of the phases; a phase that is left
/// out does not run, and one that was passed does not run again.
#[derive(Debug)]
pub struct Transaction {
    rules: Arc<RuleSet>,
    /// The strictest mode allowed.
    most: EngineMode,
    state: State,
    /// Which values may match which conditions, as far as rules have asked.
    candidates: Candidates,
    /// The last phase that ran.
    phase: u8,
    allowed: Option<Scope>,
    interruption: Option<Interruption>,
    would_interrupt: Option<Interruption>,
    /// What exceeded a limit, as a status and a reason, until a phase reports it.
    refusal: Option<(u16, &'static str)>,
    work: u64,
    relevant: bool,
    matches: Vec<Match>,
    matches_dropped: usize,
    /// Bytes of the variables told so far.
    found_bytes: usize,
    /// Anomaly scores up to the match that was recorded last.
    recorded_score: i64,
    /// The values of secrets, and what they were looked up in.
    secret_values: (Option<SecretSources>, Values),
    /// Whether the body of the request mentions a secret, once somebody has asked.
    secret_in_body: Option<bool>,
    /// The same of the body of the response.
    secret_in_response: OnceLock<bool>,
    /// Values of secrets in a body that was given back.
    kept_secrets: Vec<Vec<u8>>,
    /// Whether values of secrets are not known any more: then texts of rules are not told.
    secrets_forgotten: bool,
    not_inspected: Vec<NotInspected>,
    /// Whether the body was left in a coding that could not be undone.
    body_is_coded: bool,
    /// Whether a limit was exceeded, and the request goes on.
    went_past_limit: bool,
}

impl Transaction {
    /// Begins a transaction.
    pub fn begin(rules: Arc<RuleSet>, options: TransactionOptions) -> Self {
        let most = options
            .mode
            .min(rules.declared_mode().unwrap_or(EngineMode::On));
        let since = options.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let control = Control {
            mode: most,
            request_body_access: rules.inspects_request_body(),
            response_body_access: rules.inspects_response_body(),
            force_request_body: false,
            audit: None,
            processor: None,
            removed: Vec::new(),
            removed_targets: Vec::new(),
            removes_tx: false,
            sanitised: Default::default(),
        };
        let state = State {
            limits: rules.settings().narrow(options.limits),
            secrets: options.secrets,
            unique_id: options.unique_id,
            time_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            elapsed: Duration::ZERO,
            connection: None,
            method: Vec::new(),
            uri_raw: Vec::new(),
            uri: Vec::new(),
            path: Vec::new(),
            query: Vec::new(),
            protocol: String::new(),
            request_line: Vec::new(),
            server_name: Vec::new(),
            request_headers: Fields::default(),
            cookies: Fields::default(),
            args_get: Fields::default(),
            processor: None,
            request_body: Vec::new(),
            request_body_length: 0,
            request_body_truncated: false,
            request_body_visible: false,
            body_error: None,
            args_post: Fields::default(),
            files: Fields::default(),
            files_sizes: Vec::new(),
            part_headers: Fields::default(),
            files_bytes: 0,
            part_names: Vec::new(),
            multipart: MultipartFlags::default(),
            xml: None,
            invalid_escape: false,
            response_status: None,
            response_protocol: String::new(),
            response_headers: Fields::default(),
            response_body: Vec::new(),
            response_body_truncated: false,
            response_body_visible: false,
            tx: Tx::new(),
            collections: OpenCollections::new(options.collections),
            matched_vars: Fields::default(),
            link_ends: Vec::new(),
            captured_from: Vec::new(),
            highest_severity: None,
            current: Arc::default(),
            control,
        };
        Self {
            rules,
            most,
            state,
            candidates: Candidates::default(),
            phase: 0,
            allowed: None,
            interruption: None,
            would_interrupt: None,
            refusal: None,
            work: 0,
            relevant: false,
            matches: Vec::new(),
            matches_dropped: 0,
            found_bytes: 0,
            recorded_score: 0,
            secret_values: Default::default(),
            secret_in_body: None,
            secret_in_response: OnceLock::new(),
            kept_secrets: Vec::new(),
            secrets_forgotten: false,
            not_inspected: Vec::new(),
            body_is_coded: false,
            went_past_limit: false,
        }
    }

    /// Sets the connection.
    pub fn connection(&mut self, connection: Connection) {
        self.state.connection = Some(connection);
    }

    /// Sets how long the transaction has lasted, `DURATION` in rules. The
    /// engine has no clock; without this call it is 0.
    pub fn elapsed(&mut self, elapsed: Duration) {
        self.state.elapsed = elapsed;
    }

    /// Returns the mode, which a `ctl:ruleEngine` may have lowered.
    pub fn mode(&self) -> EngineMode {
        self.state.control.mode
    }

    /// Notes that the caller did not show a part to the rules; the record tells it.
    pub fn not_inspected(&mut self, part: Part, reason: Reason) {
        let noted = NotInspected { part, reason };
        if !self.not_inspected.contains(&noted) {
            self.not_inspected.push(noted);
        }
    }

    /// Runs phase 5, which cannot interrupt, and returns the record.
    pub fn finish(mut self) -> AuditRecord {
        self.run_last_phase();
        self.into_record()
    }

    /// Forgets what was found in the values of variables, which are others now.
    fn forget(&mut self, variables: impl Fn(Variable) -> bool) {
        self.candidates.forget(self.rules.plan(), variables);
    }

    /// Notes that something exceeded a limit; the first one counts.
    fn refuse(&mut self, status: u16, reason: &'static str) {
        self.refusal.get_or_insert((status, reason));
    }
}
