//! Answers that a rule gives by itself: redirects and fixed responses.

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use pingora::http::ResponseHeader;
use portcullis_config::model::{Redirect, Respond};

use super::{
    Refusal, RequestContext, Session, Stage, client, headers,
    redirect::{RedirectFrom, location},
    request_id::REQUEST_ID,
    rewrite::{judged_target, rewritten_target},
    serve::Stop,
};
use crate::snapshot::CompiledRule;

/// The redirect of a request in clear to https.
pub(super) const TO_HTTPS: Redirect = Redirect {
    scheme: Some("https"),
    host: None,
    port: None,
    path: None,
    status: 308,
};

/// Answers with a redirect.
///
/// # Errors
/// Where its location cannot be made, or the client is gone.
pub(super) async fn redirect(
    session: &mut Session,
    ctx: &RequestContext,
    rule: &CompiledRule,
    redirect: &Redirect,
) -> Result<(), Stop> {
    let rewritten = redirect
        .path
        .as_ref()
        .map(|rewrite| rewritten_target(rewrite, &rule.rule, session, ctx))
        .transpose()?;
    let target = match &rewritten {
        Some(target) => target,
        None => &*judged_target(session, ctx),
    };
    if ctx.view.host.is_empty() && redirect.host.is_none() {
        // A client of HTTP/1.0 that names none: the path would be read as one.
        return Err(Refusal::new(400, Stage::Route, "no-host").into());
    }
    let to = location(
        redirect,
        RedirectFrom {
            secure: ctx.view.secure,
            host: &ctx.view.host,
            port: ctx.view.port,
            target,
        },
    );
    let to = HeaderValue::try_from(to)
        .map_err(|_| Refusal::new(500, Stage::Route, "bad-redirect").by(&rule.rule.id))?;
    let location = Some((header::LOCATION, to));
    write(
        session,
        ctx,
        rule,
        (redirect.status, location),
        Bytes::new(),
    )
    .await
}

/// Answers with what the rule says.
///
/// # Errors
/// Where the client is gone.
pub(super) async fn respond(
    session: &mut Session,
    ctx: &RequestContext,
    rule: &CompiledRule,
    respond: &Respond,
) -> Result<(), Stop> {
    let content_type = respond.content_type.clone();
    let content_type = content_type.map(|content_type| (header::CONTENT_TYPE, content_type));
    let body = Bytes::copy_from_slice(respond.body.as_bytes());
    write(session, ctx, rule, (respond.status, content_type), body).await
}

async fn write(
    session: &mut Session,
    ctx: &RequestContext,
    rule: &CompiledRule,
    (status, field): (u16, Option<(header::HeaderName, HeaderValue)>),
    body: Bytes,
) -> Result<(), Stop> {
    let head = || -> pingora::Result<ResponseHeader> {
        let mut response = ResponseHeader::build(status, Some(8))?;
        if let Some((name, value)) = field {
            response.insert_header(name, value)?;
        }
        // RFC 9110 section 8.6: these have neither a body nor its length.
        if !matches!(status, 204 | 304) {
            response.insert_header(header::CONTENT_LENGTH, body.len())?;
        }
        response.insert_header(REQUEST_ID, &ctx.request_id)?;
        headers::change_response(&mut response, session.req_header(), &rule.rule)?;
        if let Some(identity) = &ctx.identity {
            identity.tell_client(&mut response)?;
        }
        Ok(response)
    };
    let response =
        head().map_err(|_| Refusal::new(500, Stage::Route, "bad-response").by(&rule.rule.id))?;
    if !session.is_body_done() {
        session.set_keepalive(None);
    }
    let bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    client::write_head(session, Box::new(response), bodiless).await?;
    if !bodiless {
        client::write_body(session, body, true).await?;
    }
    Ok(())
}
