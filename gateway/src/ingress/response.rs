//! The response on its way to the client: streamed, or held until the WAF has
//! seen its body.
//!
//! ```text
//! head -> phase 3 -> do rules look at the body?
//!                    no                  stream
//!                    yes, and only tell  stream, and show them each part
//!                    yes                 hold head and body -> phase 4 -> send both, or refuse
//! ```
//!
//! What is held has not begun for the client, so that a rule's 403, and a backend
//! that breaks off, get a status of their own.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Version, header};
use pingora::http::ResponseHeader;
use portcullis_config::model::{BodyOverLimit, BuffersSpent};
use portcullis_waf::{EngineMode, Part, Reason};

use super::{
    Ingress, Refusal, RequestContext, Services, Session, Stage, client, compress, decide::stop_on,
    error_page, exchange::Failed, headers, request_id::REQUEST_ID,
};
use crate::{
    inspect::{self, Hold},
    snapshot::{CompiledRule, CompiledWaf},
    upstream::{Fault, FaultKind},
};

/// How the body of a response goes to the client.
#[derive(Debug, Default)]
pub(super) enum Passage {
    /// As it comes; nobody looks.
    #[default]
    Stream,
    /// As it comes; the rules see it too, and only tell.
    Watch,
    /// Not before the rules have seen it.
    Hold(HeldResponse),
}

/// A response of which the client has seen nothing yet.
#[derive(Debug)]
pub(super) struct HeldResponse {
    head: Box<ResponseHeader>,
    body: BytesMut,
    hold: Hold,
}

impl Ingress {
    /// Begins a response with its head; `end` where no body follows.
    ///
    /// # Errors
    /// Where a rule refuses it, or the client is gone.
    pub(super) async fn begin_response(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        head: Box<ResponseHeader>,
        end: bool,
    ) -> Result<(), Failed> {
        if let Some(transaction) = &mut ctx.waf {
            let verdict = inspect::response_head(transaction, &head);
            stop_on(verdict)?;
        }
        if !rule.error_pages.is_empty() {
            error_page::instead_of(session, ctx, &head).map_or(Ok(()), Err)?;
        }
        if let (Some(transaction), Some(waf)) = (&mut ctx.waf, &rule.waf) {
            if !end && transaction.response_body_is_endless() {
                transaction.not_inspected(Part::ResponseBody, Reason::Stream);
            }
            if !end && transaction.wants_response_body() {
                match transaction.mode() {
                    EngineMode::On if may_hold(&head, waf)? => {
                        let body = BytesMut::new();
                        let hold = self.services().budget.hold();
                        ctx.passage = Passage::Hold(HeldResponse { head, body, hold });
                        return Ok(());
                    }
                    EngineMode::DetectionOnly => ctx.passage = Passage::Watch,
                    EngineMode::On => {
                        let reason = match is_coded(&head) {
                            true => Reason::Coded,
                            false => Reason::OverLimit,
                        };
                        transaction.not_inspected(Part::ResponseBody, reason);
                    }
                    EngineMode::Off => {}
                }
            }
            if matches!(ctx.passage, Passage::Stream) {
                // No body is shown to phase 4, and what it makes of phase 3 (the CRS adds
                // up scores there) is worth more before the answer than after it.
                stop_on(transaction.response_body_end())?;
            }
        }
        send_head(self.services(), session, ctx, rule, head, end).await
    }

    /// Passes on, or holds, a part of the body; `end` with the last.
    ///
    /// # Errors
    /// Where a rule refuses the response, or the client is gone.
    pub(super) async fn pass_body(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        bytes: Bytes,
        end: bool,
    ) -> Result<(), Failed> {
        if !matches!(ctx.passage, Passage::Stream) {
            return Box::pin(self.inspect_body(session, ctx, rule, bytes, end)).await;
        }
        if ctx.compressor.is_some() || ctx.throttle.is_some() {
            return Ok(Box::pin(compress::write_body(session, ctx, bytes, end)).await?);
        }
        Ok(client::write_body(session, bytes, end).await?)
    }

    /// Shows a part of a response body to the rules, and passes it on when they allow.
    async fn inspect_body(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        bytes: Bytes,
        end: bool,
    ) -> Result<(), Failed> {
        let (Some(transaction), Some(waf)) = (&mut ctx.waf, &rule.waf) else {
            return Ok(compress::write_body(session, ctx, bytes, end).await?);
        };
        transaction.response_body(&bytes);
        let (memory, budget) = (&mut ctx.waf_memory, &self.services().budget);
        let spent = match ctx.passage {
            Passage::Hold(_) => waf.profile.buffers_spent,
            // What has begun for the client is not refused.
            _ => BuffersSpent::Skip,
        };
        inspect::count_kept(transaction, memory, budget, spent)?;
        let over = transaction.response_body_is_over_limit();
        let Passage::Hold(held) = &mut ctx.passage else {
            if end || over {
                // It only tells, so this continues.
                stop_on(transaction.response_body_end())?;
                ctx.passage = Passage::Stream;
            }
            return Ok(compress::write_body(session, ctx, bytes, end).await?);
        };
        let fits = held.hold.grow(bytes.len() as u64);
        held.body.extend_from_slice(&bytes);
        match (over, waf.profile.response_over_limit, fits) {
            (_, _, false) if waf.profile.buffers_spent == BuffersSpent::Refuse => {
                return Err(Refusal::new(503, Stage::Body, "buffers-spent").into());
            }
            (true, BodyOverLimit::Refuse, _) => return Err(over_limit(waf).into()),
            (_, _, false) => transaction.not_inspected(Part::ResponseBody, Reason::NoMemory),
            (true, BodyOverLimit::Skip, _) => {}
            (true, BodyOverLimit::InspectPrefix, _) => {
                stop_on(transaction.response_body_end())?;
            }
            (false, ..) if end => {
                stop_on(transaction.response_body_end())?;
            }
            (false, ..) => return Ok(()),
        }
        release(self.services(), session, ctx, rule, end).await
    }

    /// Ends a response with trailers.
    ///
    /// # Errors
    /// Where a rule refuses the response, or the client is gone.
    pub(super) async fn pass_trailers(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        trailers: HeaderMap,
    ) -> Result<(), Failed> {
        if !matches!(ctx.passage, Passage::Stream)
            && let Some(transaction) = &mut ctx.waf
        {
            stop_on(transaction.response_body_end())?;
            release(self.services(), session, ctx, rule, false).await?;
        }
        compress::finish(session, ctx).await?;
        Ok(client::write_trailers(session, trailers).await?)
    }
}

/// Whether rules can be shown the body behind this head before the client is.
fn may_hold(head: &ResponseHeader, waf: &CompiledWaf) -> Result<bool, Refusal> {
    let profile = &waf.profile;
    // The backend was asked for none; there may be files that it has in no other form.
    let coded = is_coded(head);
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let over = length.is_some_and(|length| length > profile.response_body_limit);
    match profile.response_over_limit {
        BodyOverLimit::Refuse if coded => {
            Err(Refusal::new(502, Stage::Waf, "response-coded").by(&profile.name))
        }
        BodyOverLimit::Refuse if over => Err(over_limit(waf)),
        BodyOverLimit::Skip if over => Ok(false),
        _ => Ok(!coded),
    }
}

fn is_coded(head: &ResponseHeader) -> bool {
    head.headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn over_limit(waf: &CompiledWaf) -> Refusal {
    Refusal::new(502, Stage::Waf, "response-over-inspection-limit").by(&waf.profile.name)
}

/// Sends what was held; the rest of the body streams behind it.
async fn release(
    services: &Services,
    session: &mut Session,
    ctx: &mut RequestContext,
    rule: &CompiledRule,
    end: bool,
) -> Result<(), Failed> {
    let Passage::Hold(held) = std::mem::take(&mut ctx.passage) else {
        return Ok(());
    };
    let HeldResponse {
        mut head,
        body,
        hold,
    } = held;
    if end {
        // It is known now.
        head.insert_header(header::CONTENT_LENGTH, body.len())
            .map_err(|error| Fault::new(FaultKind::Malformed, error))?;
    }
    let empty = end && body.is_empty();
    send_head(services, session, ctx, rule, head, empty).await?;
    if !body.is_empty() {
        compress::write_body(session, ctx, body.freeze(), end).await?;
    }
    drop(hold);
    Ok(())
}

/// Writes a response head as the client gets it.
async fn send_head(
    services: &Services,
    session: &mut Session,
    ctx: &mut RequestContext,
    rule: &CompiledRule,
    mut head: Box<ResponseHeader>,
    end: bool,
) -> Result<(), Failed> {
    change_head(services, session, ctx, rule, &mut head, end)
        .map_err(|error| Fault::new(FaultKind::Malformed, error))?;
    if ends_with_connection(session, &head, end) {
        session.set_keepalive(None);
    }
    // From here on it may have left, whatever becomes of the writing.
    ctx.begun = true;
    Ok(client::write_head(session, head, end).await?)
}

/// The response head as the client gets it.
fn change_head(
    services: &Services,
    session: &Session,
    ctx: &mut RequestContext,
    rule: &CompiledRule,
    head: &mut ResponseHeader,
    end: bool,
) -> pingora::Result<()> {
    // The version is that of a connection (RFC 9110 section 2.5): the client's.
    head.set_version(Version::HTTP_11);
    head.insert_header(REQUEST_ID, ctx.request_id_value())?;
    let request = session.req_header();
    headers::change_response(head, request, &rule.rule)?;
    for cookie in [&ctx.affinity_cookie, &ctx.sticky_cookie]
        .into_iter()
        .flatten()
    {
        // Beside those of the backend.
        head.append_header(header::SET_COOKIE, cookie)?;
    }
    if let Some(identity) = &ctx.identity {
        identity.tell_client(head)?;
    }
    let no_body = has_no_body(session, head);
    if let Some(policy) = &rule.rule.policies.compression
        && (no_body || !end)
    {
        let certificate = ctx.facts.tls.as_ref().and_then(|tls| tls.client.as_ref());
        let known = ctx.identity.is_some() || certificate.is_some();
        ctx.compressor = compress::begin(services, policy, request, head, known)?;
    }
    if session.is_http2() || no_body || head.headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(());
    }
    if end {
        head.insert_header(header::CONTENT_LENGTH, 0)?;
    } else if request.version != Version::HTTP_10 {
        // HTTP/1.0 knows no chunks (RFC 9112 section 7.1): its body ends with the connection.
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}

/// Whether a response has no body, whatever its head says of one (RFC 9110 section 6.4.1).
pub(super) fn has_no_body(session: &Session, head: &ResponseHeader) -> bool {
    session.req_header().method == Method::HEAD || matches!(head.status.as_u16(), 101 | 204 | 304)
}

/// Whether the client finds the end of a body by the end of the connection.
fn ends_with_connection(session: &Session, head: &ResponseHeader, end: bool) -> bool {
    !end && session.req_header().version == Version::HTTP_10
        && !head.headers.contains_key(header::CONTENT_LENGTH)
}
