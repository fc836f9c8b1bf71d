//! The state of one request through phases 1 to 5.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{AuditRecord, EngineMode, Limits, RuleSet, Verdict};

/// How a transaction runs.
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// The strictest mode the transaction may run in. `SecRuleEngine` and
    /// `ctl:ruleEngine` can lower it, never raise it.
    pub mode: EngineMode,
    /// Bounds.
    pub limits: Limits,
    /// Identifier, `UNIQUE_ID` in rules.
    pub unique_id: String,
    /// The time at which the request began.
    pub time: SystemTime,
}

impl TransactionOptions {
    /// Makes options with the default [`Limits`].
    pub fn new(mode: EngineMode, unique_id: String, time: SystemTime) -> Self {
        Self {
            mode,
            limits: Limits::default(),
            unique_id,
            time,
        }
    }
}

/// The two ends of the client's connection.
#[derive(Clone, Copy, Debug)]
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
#[derive(Debug)]
pub struct Transaction {
    options: TransactionOptions,
}

impl Transaction {
    /// Begins a transaction.
    pub fn begin(_rules: Arc<RuleSet>, options: TransactionOptions) -> Self {
        Self { options }
    }

    /// Sets the connection.
    pub fn connection(&mut self, _connection: Connection) {}

    /// Sets how long the transaction has lasted, `DURATION` in rules.
    pub fn elapsed(&mut self, _elapsed: Duration) {}

    /// Sets the request line; `uri` is the raw target with its query.
    pub fn request_line(&mut self, _method: &[u8], _uri: &[u8], _protocol: &str) {}

    /// Adds a header field of the request.
    pub fn request_header(&mut self, _name: &[u8], _value: &[u8]) {}

    /// Runs phase 1.
    pub fn request_headers_end(&mut self) -> Verdict {
        Verdict::Continue
    }

    /// Tells, after phase 1, whether the body should be given.
    pub fn wants_request_body(&self) -> bool {
        true
    }

    /// Appends to the request body.
    pub fn request_body(&mut self, _bytes: &[u8]) {}

    /// Parses the body and runs phase 2. To be called without a body as well.
    pub fn request_body_end(&mut self) -> Verdict {
        Verdict::Continue
    }

    /// Sets the status line of the response.
    pub fn response_head(&mut self, _status: u16, _protocol: &str) {}

    /// Adds a header field of the response.
    pub fn response_header(&mut self, _name: &[u8], _value: &[u8]) {}

    /// Runs phase 3.
    pub fn response_headers_end(&mut self) -> Verdict {
        Verdict::Continue
    }

    /// Tells, after phase 3, whether the response body should be given.
    pub fn wants_response_body(&self) -> bool {
        false
    }

    /// Appends to the response body.
    pub fn response_body(&mut self, _bytes: &[u8]) {}

    /// Runs phase 4.
    pub fn response_body_end(&mut self) -> Verdict {
        Verdict::Continue
    }

    /// Runs phase 5 and returns the record.
    pub fn finish(self) -> AuditRecord {
        AuditRecord {
            unique_id: self.options.unique_id,
            time_unix_ms: 0,
            client: None,
            client_port: None,
            server: None,
            server_port: None,
            method: String::new(),
            uri: String::new(),
            protocol: String::new(),
            response_status: None,
            mode: self.options.mode,
            interruption: None,
            would_interrupt: None,
            inbound_anomaly_score: 0,
            outbound_anomaly_score: 0,
            relevant: false,
            matches: Vec::new(),
            matches_dropped: 0,
        }
    }
}
