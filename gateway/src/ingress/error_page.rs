//! The page that people see in place of an error.
//!
//! It changes what they read and nothing else: the status stays, and so do the
//! fields that say how to authenticate or when to come back.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use super::{Refusal, RequestContext, Session, Stage, grpc};
use crate::snapshot::CompiledErrorPages;

/// Fields of a replaced answer that are not of its body: they say how to
/// authenticate, what is allowed, when to come back, and who the client is now.
const KEPT: [header::HeaderName; 4] = [
    header::WWW_AUTHENTICATE,
    header::ALLOW,
    header::RETRY_AFTER,
    header::SET_COOKIE,
];

/// The page for a refusal, with its content type.
pub(super) fn page_for(
    session: &Session,
    ctx: &RequestContext,
    refusal: &Refusal,
) -> Option<(HeaderValue, Bytes)> {
    let headers = &session.req_header().headers;
    let page = pages(session, ctx)
        .iter()
        .find_map(|set| set.find(refusal.status, headers))?;
    let error = StatusCode::from_u16(refusal.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let text = page.fill(refusal.status, error, &ctx.request_id);
    Some((page.content_type.clone(), text))
}

/// The refusal that takes the place of a backend's answer, where there is a page for it.
pub(super) fn instead_of(
    session: &Session,
    ctx: &RequestContext,
    head: &ResponseHeader,
) -> Option<Refusal> {
    let status = head.status.as_u16();
    if status < 400 {
        return None;
    }
    let headers = &session.req_header().headers;
    pages(session, ctx)
        .iter()
        .find(|set| set.intercept && set.find(status, headers).is_some())?;
    let mut refusal = Refusal::new(status, Stage::Upstream, "error-page");
    for name in KEPT {
        let values = head.headers.get_all(&name);
        refusal
            .headers
            .extend(values.iter().map(|value| (name.clone(), value.clone())));
    }
    Some(match &ctx.backend {
        Some(backend) => refusal.by(&backend.backend.name),
        None => refusal,
    })
}

/// The sets that hold for a request: those of its rule, else those for requests without one.
fn pages<'a>(session: &Session, ctx: &'a RequestContext) -> &'a [Arc<CompiledErrorPages>] {
    if grpc::is_call(session) {
        // Nobody reads pages there.
        return &[];
    }
    match &ctx.rule {
        Some(rule) => &rule.error_pages,
        None => ctx.snapshot.error_pages(),
    }
}
