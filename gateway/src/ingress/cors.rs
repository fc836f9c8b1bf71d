//! Cross-origin requests (Fetch, section "CORS protocol").
//!
//! A preflight asks whether a page may send a request; the gateway answers it
//! by the policy of the rule that the request itself would take. Every other
//! answer of that rule, whoever made it, tells the browser whether the page may
//! read it. A request of a page that may not is served all the same: what it may
//! do is for authentication to say, and not every client is a browser.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::http::{RequestHeader, ResponseHeader};
use portcullis_config::cors::{Allowed, Cors};

use super::{
    Refusal, RequestContext, Session, Stage, client,
    headers::{self, alike},
    request_id::REQUEST_ID,
    serve::Stop,
};
use crate::{inspect, snapshot::CompiledRule};

/// Fields by which a request asks to be taken for another method.
const OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// The method that a preflight asks for, the question of a browser whether it may send a
/// request; `None` for any other request. A preflight has no credentials by its nature,
/// and never a body; one that asks to be taken for another method is none.
pub(super) fn preflight_for(session: &mut Session) -> Option<Method> {
    if session.req_header().method != Method::OPTIONS {
        return None;
    }
    // HTTP/2 announces no body.
    let no_body = session.is_body_empty();
    let headers = &session.req_header().headers;
    let is_preflight = no_body
        && headers.contains_key(header::ORIGIN)
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && !headers.contains_key(header::UPGRADE)
        && inspect::content_length(session).unwrap_or(0) == 0
        && !headers
            .keys()
            .any(|name| OVERRIDES.iter().any(|known| alike(known, name.as_str())));
    if !is_preflight {
        return None;
    }
    let wanted = only(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(wanted.as_bytes()).ok()
}

/// Tells a browser whether a page of the request's origin may read an answer,
/// in place of what the backend says of that.
pub(super) fn decorate(
    cors: &Cors,
    request: &RequestHeader,
    head: &mut ResponseHeader,
) -> pingora::Result<()> {
    let theirs: Vec<HeaderName> = head
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in &theirs {
        head.remove_header(name);
    }
    if !cors.is_for_all() {
        headers::vary(head, "Origin")?;
    }
    let Some(origin) = cors.share_with(request.headers.get_all(header::ORIGIN)) else {
        return Ok(());
    };
    head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.into_owned())?;
    if cors.credentials {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
    }
    match &cors.expose {
        Some(Allowed::Listed(names)) => {
            head.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone())?;
        }
        // With credentials a browser takes `*` for a name.
        Some(Allowed::Any) if !cors.credentials => {
            head.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, "*")?;
        }
        Some(Allowed::Any) | None => {}
    }
    Ok(())
}

/// Answers a preflight.
///
/// # Errors
/// A refusal where the origin is not allowed, or that the client is gone.
pub(super) async fn answer_preflight(
    session: &mut Session,
    ctx: &RequestContext,
    rule: &CompiledRule,
    cors: &Cors,
) -> Result<(), Stop> {
    let request = session.req_header();
    let origins = request.headers.get_all(header::ORIGIN);
    if cors.share_with(origins).is_none() {
        return Err(Refusal::new(403, Stage::Cors, "origin-not-allowed").into());
    }
    let head = preflight(cors, request, ctx, rule)
        .map_err(|_| Refusal::new(500, Stage::Cors, "bad-preflight").by(&rule.rule.id))?;
    if !session.is_body_done() {
        session.set_keepalive(None);
    }
    client::write_head(session, Box::new(head), true).await?;
    Ok(())
}

/// The answer to a preflight of an origin that is allowed.
fn preflight(
    cors: &Cors,
    request: &RequestHeader,
    ctx: &RequestContext,
    rule: &CompiledRule,
) -> pingora::Result<ResponseHeader> {
    // 200 and not 204: some proxies on the way still take a 204 for a fault.
    let mut head = ResponseHeader::build(200, Some(10))?;
    head.insert_header(header::CONTENT_LENGTH, 0)?;
    head.insert_header(REQUEST_ID, ctx.request_id_value())?;
    decorate(cors, request, &mut head)?;
    // Named and not `*`, which browsers do not take everywhere: not with
    // credentials, and never for Authorization.
    let asked = |name| only(&request.headers, name).cloned();
    let methods = match &cors.methods {
        Allowed::Any => asked(&header::ACCESS_CONTROL_REQUEST_METHOD),
        Allowed::Listed(methods) => Some(methods.clone()),
    };
    let allowed_headers = match &cors.headers {
        Some(Allowed::Any) => asked(&header::ACCESS_CONTROL_REQUEST_HEADERS),
        Some(Allowed::Listed(names)) => Some(names.clone()),
        None => None,
    };
    if let Some(methods) = methods {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)?;
    }
    if let Some(names) = allowed_headers {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, names)?;
    }
    head.insert_header(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.as_secs())?;
    headers::change(&mut head, &rule.rule.response_headers)?;
    Ok(head)
}

/// The value of a field that stands once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}
