//! An answer that is ours and not a backend's.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use super::{
    RequestContext, Session,
    client::{self, Gone},
    cors, grpc,
    request_id::REQUEST_ID,
};

/// Header that names the part of Portcullis that answered, and why.
const REASON: &str = "x-portcullis-reason";

/// The part of Portcullis that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The request is malformed or ambiguous.
    Normalise,
    /// The connection was not made for the host.
    Tls,
    /// No route.
    Route,
    /// An address list.
    Access,
    /// A rate limit.
    Limit,
    /// Who the client is.
    Authentication,
    /// The cross-origin policy.
    Cors,
    /// The request body: its size, its time, the memory for it.
    Body,
    /// The WAF.
    Waf,
    /// No endpoint, or the endpoint failed.
    Upstream,
}

impl Stage {
    /// The name in logs, metrics and the reason header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normalise => "normalise",
            Self::Tls => "tls",
            Self::Route => "route",
            Self::Access => "access",
            Self::Limit => "limit",
            Self::Authentication => "authentication",
            Self::Cors => "cors",
            Self::Body => "body",
            Self::Waf => "waf",
            Self::Upstream => "upstream",
        }
    }
}

/// An early answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status for the client.
    pub status: u16,
    /// Who answered.
    pub stage: Stage,
    /// Why, from a fixed list; safe as a metric label.
    pub reason: &'static str,
    /// Name of the list, limit or rule that decided, for the log.
    pub rule: Option<String>,
    /// For a rate limit: when to come back.
    pub retry_after: Option<Duration>,
    /// For a redirection by a WAF rule.
    pub location: Option<String>,
    /// What the client is told beside: how to authenticate, cookies.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// Makes a refusal.
    pub fn new(status: u16, stage: Stage, reason: &'static str) -> Self {
        Self {
            status,
            stage,
            reason,
            rule: None,
            retry_after: None,
            location: None,
            headers: Vec::new(),
        }
    }

    /// Names what decided.
    #[must_use]
    pub fn by(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// The response head and body.
    pub(crate) fn response(&self, request_id: &str) -> pingora::Result<(ResponseHeader, Bytes)> {
        let text = StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Refused");
        let body = serde_json::json!({
            "status": self.status,
            "error": text,
            "stage": self.stage.name(),
            "reason": self.reason,
            "requestId": request_id,
        });
        let body = Bytes::from(format!("{body}\n"));
        let mut head = ResponseHeader::build(self.status, Some(8))?;
        head.insert_header(header::CONTENT_TYPE, "application/json")?;
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        head.insert_header(header::CACHE_CONTROL, "no-store")?;
        head.insert_header(REASON, format!("{}/{}", self.stage.name(), self.reason))?;
        head.insert_header(REQUEST_ID, request_id)?;
        if let Some(after) = self.retry_after {
            head.insert_header(
                header::RETRY_AFTER,
                after.as_secs_f64().ceil().max(1.0) as u64,
            )?;
        }
        if let Some(location) = self
            .location
            .as_deref()
            .and_then(|location| HeaderValue::from_str(location).ok())
        {
            head.insert_header(header::LOCATION, location)?;
        }
        for (name, value) in &self.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        Ok((head, body))
    }

    /// Writes the refusal to the client.
    ///
    /// Where more of the request is to come the connection closes after the answer.
    /// A page, with its content type, takes the place of the gateway's own text.
    pub(super) async fn write(
        &self,
        session: &mut Session,
        ctx: &RequestContext,
        page: Option<(HeaderValue, Bytes)>,
    ) -> Result<(), Gone> {
        let (mut head, mut body) = self.response(&ctx.request_id)?;
        if let Some((content_type, page)) = page {
            head.insert_header(header::CONTENT_TYPE, content_type)?;
            head.insert_header(header::CONTENT_LENGTH, page.len())?;
            body = page;
        }
        if grpc::is_call(session) {
            grpc::end_call(&mut head, self)?;
            body = Bytes::new();
        }
        let rule = ctx.rule.as_ref().map(|rule| &rule.rule.policies);
        if let Some(policy) = rule.and_then(|policies| policies.cors.as_ref()) {
            // A page must be able to read why its request was refused. The rule's own
            // changes are left out: a Cache-Control of its answers is none of this one.
            cors::decorate(policy, session.req_header(), &mut head)?;
        }
        if !session.is_body_done() {
            session.set_keepalive(None);
        }
        let no_body = body.is_empty() || session.req_header().method == http::Method::HEAD;
        client::write_head(session, Box::new(head), no_body).await?;
        if !no_body {
            client::write_body(session, body, true).await?;
        }
        Ok(())
    }
}
