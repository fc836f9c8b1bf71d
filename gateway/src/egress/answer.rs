//! Answers of the proxy itself.

use std::sync::Arc;

use portcullis_config::egress::Refused;

use super::{identify::CHALLENGE, resolver::ResolveError};

/// A refusal or failure, with what the client and the audit log are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Status for the client.
    pub status: u16,
    /// Stable reason code.
    pub reason: &'static str,
    /// The policy that refuses.
    pub policy: Option<Arc<str>>,
    /// Text of the policy entry that decided.
    pub rule: Option<Arc<str>>,
    /// Whether no mode of a policy lifts it.
    pub always: bool,
}

impl Refusal {
    pub(super) fn new(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            policy: None,
            rule: None,
            always: true,
        }
    }

    /// A refusal by policy.
    pub(super) fn policy(refused: &Refused) -> Self {
        Self {
            status: 403,
            reason: refused.reason,
            policy: refused.policy.clone(),
            rule: refused.rule.clone(),
            always: refused.always,
        }
    }

    /// Writes the head and body for an HTTP/1.1 client.
    ///
    /// It names what can be done about it, not what else would be allowed.
    pub(super) fn response(&self, request_id: &str, keep_open: bool) -> Vec<u8> {
        let text = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Refused");
        let body = serde_json::json!({
            "status": self.status,
            "error": text,
            "stage": "egress",
            "reason": self.reason,
            "canBeAllowed": !self.always,
            "requestId": request_id,
        });
        let body = format!("{body}\n");
        // .NET and Java send credentials to nobody who does not ask for them.
        let challenge = match self.status {
            407 => format!("proxy-authenticate: {CHALLENGE}\r\n"),
            _ => String::new(),
        };
        // What is not known yet is known in a moment.
        let again = match (self.status, self.reason) {
            (503, _) | (_, "identity_unknown") => "retry-after: 1\r\n",
            _ => "",
        };
        let connection = if keep_open { "keep-alive" } else { "close" };
        format!(
            "HTTP/1.1 {} {text}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             x-portcullis-reason: egress/{}\r\nx-request-id: {request_id}\r\n{challenge}{again}connection: {connection}\r\n\r\n{body}",
            self.status,
            body.len(),
            self.reason,
        )
        .into_bytes()
    }
}

impl From<ResolveError> for Refusal {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound => Self::new(502, "dns_nxdomain"),
            ResolveError::Timeout => Self::new(504, "dns_timeout"),
            ResolveError::Failed => Self::new(502, "dns_failed"),
        }
    }
}
