//! What is known about one request and its response. Data only.

use std::{sync::Arc, time::Duration};

use super::{Connection, Fields, Tx};
use crate::{
    actions::Sanitised,
    body::{MultipartFlags, Processor, Xml},
    collections::OpenCollections,
    compile::{Description, RuleSelection},
    limits::Limits,
    secrets::SecretNames,
    variables::TargetPattern,
    verdict::EngineMode,
};

/// Everything that variables are read from.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Limits,
    /// Whose values no record tells.
    pub(crate) secrets: Arc<SecretNames>,
    pub(crate) unique_id: String,
    pub(crate) time_unix_ms: u64,
    pub(crate) elapsed: Duration,
    pub(crate) connection: Option<Connection>,

    pub(crate) method: Vec<u8>,
    /// As received.
    pub(crate) uri_raw: Vec<u8>,
    /// Without scheme and authority.
    pub(crate) uri: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) query: Vec<u8>,
    pub(crate) protocol: String,
    pub(crate) request_line: Vec<u8>,
    pub(crate) server_name: Vec<u8>,
    pub(crate) request_headers: Fields,
    pub(crate) cookies: Fields,
    pub(crate) args_get: Fields,

    pub(crate) processor: Option<Processor>,
    pub(crate) request_body: Vec<u8>,
    pub(crate) request_body_length: usize,
    pub(crate) request_body_truncated: bool,
    /// Whether `REQUEST_BODY` has a value.
    pub(crate) request_body_visible: bool,
    pub(crate) body_error: Option<String>,
    pub(crate) args_post: Fields,
    /// Field names with file names.
    pub(crate) files: Fields,
    pub(crate) files_sizes: Vec<usize>,
    pub(crate) part_headers: Fields,
    pub(crate) files_bytes: usize,
    pub(crate) part_names: Vec<Vec<u8>>,
    pub(crate) multipart: MultipartFlags,
    pub(crate) xml: Option<Xml>,
    /// `URLENCODED_ERROR`, of the query or of a form.
    pub(crate) invalid_escape: bool,

    pub(crate) response_status: Option<u16>,
    pub(crate) response_protocol: String,
    pub(crate) response_headers: Fields,
    pub(crate) response_body: Vec<u8>,
    pub(crate) response_body_truncated: bool,
    pub(crate) response_body_visible: bool,

    pub(crate) tx: Tx,
    pub(crate) collections: OpenCollections,
    /// What matched in the chain that runs.
    pub(crate) matched_vars: Fields,
    /// How many of them there were when each link of the chain had matched.
    pub(crate) link_ends: Vec<usize>,
    /// The variable that `TX:0` to `TX:9` are from.
    pub(crate) captured_from: Vec<u8>,
    /// The lowest number among those of the rules that matched.
    pub(crate) highest_severity: Option<u8>,
    /// The rule that runs.
    pub(crate) current: Arc<Description>,
    pub(crate) control: Control,
}

impl State {
    /// Returns the time, in seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        self.time_unix_ms.saturating_add(elapsed) / 1000
    }
}

impl Control {
    /// Whether no rule and no variable of `TX` was taken away.
    pub(crate) fn is_untouched(&self) -> bool {
        self.removed.is_empty() && !self.removes_tx
    }
}

/// What `ctl` changed for the rest of the transaction.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) mode: EngineMode,
    pub(crate) request_body_access: bool,
    pub(crate) response_body_access: bool,
    pub(crate) force_request_body: bool,
    /// Whether there is an audit entry, where `ctl:auditEngine` says so.
    pub(crate) audit: Option<bool>,
    pub(crate) processor: Option<Processor>,
    pub(crate) removed: Vec<Arc<RuleSelection>>,
    pub(crate) removed_targets: Vec<Arc<(RuleSelection, TargetPattern)>>,
    /// Whether variables of `TX` are among them.
    pub(crate) removes_tx: bool,
    /// What rules want hidden in the record.
    pub(crate) sanitised: Sanitised,
}
