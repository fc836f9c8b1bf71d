//! What arrives of a response, and phases 3 and 4.

use std::sync::OnceLock;

use super::Transaction;
use crate::{
    body::ContentType,
    limits::BodyOverLimit,
    variables::Variable,
    verdict::{EngineMode, Verdict},
};

/// Types whose bodies are looked at where `SecResponseBodyMimeType` says nothing.
const DEFAULT_TYPES: [&str; 3] = ["text/plain", "text/html", "text/xml"];

impl Transaction {
    /// Sets the status line of the response.
    pub fn response_head(&mut self, status: u16, protocol: &str) {
        self.state.response_status = Some(status);
        self.forget(Variable::is_of_response);
        self.state.response_protocol = protocol.to_owned();
    }

    /// Adds a header field of the response.
    pub fn response_header(&mut self, name: &[u8], value: &[u8]) {
        if self.state.response_headers.len() >= self.state.limits.max_headers {
            return self.refuse(502, "too many response headers");
        }
        self.state.response_headers.push(name, value);
        self.forget(Variable::is_of_response);
    }

    /// Runs phase 3.
    pub fn response_headers_end(&mut self) -> Verdict {
        self.run(3)
    }

    /// Tells, after phase 2, whether bodies of responses are looked at; a backend
    /// should then be asked for an answer without a content coding.
    pub fn inspects_response_body(&self) -> bool {
        let control = &self.state.control;
        control.mode != EngineMode::Off && control.response_body_access
    }

    /// Tells, after phase 3, whether the response body should be given to
    /// [`Self::response_body`] and held back until phase 4.
    ///
    /// Never for 101, for an event stream, for gRPC, or for a type that
    /// `SecResponseBodyMimeType` does not name.
    pub fn wants_response_body(&self) -> bool {
        self.may_look_at_response() && {
            let essence = self.response_type();
            self.looks_at(&essence) && !is_endless(&essence)
        }
    }

    /// Tells, after phase 3, whether rules would look at the body, and cannot: an event
    /// stream or gRPC has no end that could be waited for.
    pub fn response_body_is_endless(&self) -> bool {
        self.may_look_at_response() && {
            let essence = self.response_type();
            is_endless(&essence) && self.looks_at(&essence)
        }
    }

    fn may_look_at_response(&self) -> bool {
        self.inspects_response_body()
            && self.interruption.is_none()
            && self.state.response_status != Some(101)
    }

    fn response_type(&self) -> Vec<u8> {
        let header = self.state.response_headers.first(b"content-type");
        header.map_or(Vec::new(), |header| ContentType::parse(header).essence)
    }

    fn looks_at(&self, essence: &[u8]) -> bool {
        let is = |known: &str| known.as_bytes() == essence;
        match &self.rules.settings().response_types {
            Some(types) => types.iter().any(|known| is(known)),
            None => DEFAULT_TYPES.into_iter().any(is),
        }
    }

    /// Appends to the response body, up to the limit.
    pub fn response_body(&mut self, bytes: &[u8]) {
        if !self.wants_response_body() {
            return;
        }
        let over_limit = self.state.limits.response_over_limit;
        if self.state.response_body_truncated && over_limit == BodyOverLimit::Skip {
            return;
        }
        self.state.response_body_visible = true;
        self.secret_in_response = OnceLock::new();
        self.forget(Variable::is_of_response);
        let room = self
            .state
            .limits
            .max_response_body_bytes
            .saturating_sub(self.state.response_body.len());
        self.state
            .response_body
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.state.response_body_truncated = true;
            match over_limit {
                BodyOverLimit::Reject => self.refuse(502, "the response body is too long"),
                BodyOverLimit::InspectPrefix => {}
                BodyOverLimit::Skip => {
                    self.state.response_body.clear();
                    self.state.response_body_visible = false;
                }
            }
        }
    }

    /// Tells whether more of the body came than is held.
    pub fn response_body_is_over_limit(&self) -> bool {
        self.state.response_body_truncated
    }

    /// Runs phase 4.
    pub fn response_body_end(&mut self) -> Verdict {
        self.run(4)
    }
}

/// Whether what is of this type has no end that could be waited for.
fn is_endless(essence: &[u8]) -> bool {
    essence == b"text/event-stream" || essence.starts_with(b"application/grpc")
}
