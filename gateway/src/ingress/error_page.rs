//! The page that people see in place of an error.
//!
//! It changes what they read and nothing else: the status stays, and so do the
//! fields that say how to authenticate or when to come back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use portcullis_config::model::MAX_PAGE_BYTES;

use super::{Ingress, Refusal, RequestContext, Session, Stage, grpc};
use crate::{
    snapshot::{AskedBackend, CompiledErrorPage, CompiledErrorPages, PageSource, is_accepted},
    upstream::{Patience, Question, Reply},
};

/// Fields of a replaced answer that are not of its body: they say how to
/// authenticate, what is allowed, when to come back, and who the client is now.
const KEPT: [HeaderName; 4] = [
    header::WWW_AUTHENTICATE,
    header::ALLOW,
    header::RETRY_AFTER,
    header::SET_COOKIE,
];

/// A page, and its content type.
type Page = (HeaderValue, Bytes);

impl Ingress {
    /// The page for a refusal.
    pub(super) async fn page_for(
        &self,
        session: &Session,
        ctx: &RequestContext,
        refusal: &Refusal,
    ) -> Option<Page> {
        let headers = &session.req_header().headers;
        for page in pages_for(session, ctx, refusal.status) {
            match &page.source {
                PageSource::Text(page) => {
                    let error = StatusCode::from_u16(refusal.status)
                        .ok()
                        .and_then(|status| status.canonical_reason())
                        .unwrap_or("Error");
                    let text = page.fill(refusal.status, error, &ctx.request_id);
                    return Some((page.content_type.clone(), text));
                }
                PageSource::Asked(asked) => {
                    let time = time_for(asked.settings.timeout, ctx.deadline, Instant::now());
                    let Some(time) = time else {
                        continue;
                    };
                    let fields = fields(session, ctx, refusal.status);
                    // Boxed, since few refusals need it.
                    let asking = self.ask_for_page((asked, time), refusal.status, ctx, &fields);
                    let page = Box::pin(asking).await;
                    match page {
                        // Not a fault of the backend: the client takes another type.
                        Ok(page) if !is_accepted(&page.0, headers) => {}
                        Ok(page) => return Some(page),
                        Err(reason) => tell(asked, &reason),
                    }
                }
            }
        }
        None
    }

    /// Asks a backend for a page, within a time.
    ///
    /// # Errors
    /// Why it gave none.
    async fn ask_for_page(
        &self,
        (asked, time): (&AskedBackend, Duration),
        status: u16,
        ctx: &RequestContext,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Page, String> {
        let host = match ctx.view.host.as_str() {
            "" => &asked.settings.backend,
            host => host,
        };
        let question = Question {
            method: &Method::GET,
            target: &asked.settings.path,
            host: host.as_bytes(),
            fields,
            patience: Patience {
                read: Some(time),
                write: time,
            },
            keep: MAX_PAGE_BYTES,
        };
        let reply = self.ask_in_time(&asked.backend, question, time).await;
        page_of(reply.map_err(|fault| fault.to_string())?, status)
    }
}

/// How long a page may be waited for: no longer than the request may take.
fn time_for(timeout: Duration, deadline: Option<Instant>, now: Instant) -> Option<Duration> {
    let left = deadline.map_or(timeout, |at| at.saturating_duration_since(now));
    Some(timeout.min(left)).filter(|time| !time.is_zero())
}

/// The page that an answer is.
fn page_of(reply: Reply, status: u16) -> Result<Page, String> {
    if !(200..300).contains(&reply.status) && reply.status != status {
        return Err(format!("it answered {}", reply.status));
    }
    if reply.headers.contains_key(header::CONTENT_ENCODING) {
        return Err("its answer has a content coding".into());
    }
    let content_type = reply.headers.get(header::CONTENT_TYPE).cloned();
    let content_type =
        content_type.unwrap_or_else(|| HeaderValue::from_static("text/html; charset=utf-8"));
    Ok((content_type, reply.body))
}

/// What a backend is told of the request whose page it is asked for, under the names
/// of ingress-nginx. Neither cookies nor credentials.
fn fields(session: &Session, ctx: &RequestContext, status: u16) -> Vec<(HeaderName, HeaderValue)> {
    let request = session.req_header();
    let accept = request.headers.get_all(header::ACCEPT).iter();
    let accept = accept.map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let service = ctx.backend.as_ref();
    let service = service.map_or("", |backend| backend.backend.name.as_str());
    let told = [
        (
            "x-code",
            itoa::Buffer::new().format(status).as_bytes().to_vec(),
        ),
        ("x-format", accept.join(&b", "[..])),
        ("x-original-uri", request.raw_path().to_vec()),
        ("x-service-name", service.as_bytes().to_vec()),
        ("x-request-id", ctx.request_id.as_bytes().to_vec()),
    ];
    told.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| {
            let value = HeaderValue::from_bytes(&value).ok()?;
            Some((HeaderName::from_static(name), value))
        })
        .collect()
}

fn tell(asked: &AskedBackend, reason: &str) {
    if let Some(untold) = asked.failures.note() {
        let backend = &asked.settings.backend;
        tracing::warn!(%backend, reason, untold, "a backend gave no error page");
    }
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
    sets(session, ctx)
        .iter()
        .find(|set| set.intercept && set.find(status, headers).next().is_some())?;
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

/// The pages for a status that the client accepts, in order; the first is taken that
/// can be had.
fn pages_for(session: &Session, ctx: &RequestContext, status: u16) -> Vec<Arc<CompiledErrorPage>> {
    let headers = &session.req_header().headers;
    let sets = sets(session, ctx).iter();
    let pages = sets.flat_map(|set| set.find(status, headers));
    pages.cloned().collect()
}

/// The sets that hold for a request: those of its rule, else those for requests without one.
fn sets<'a>(session: &Session, ctx: &'a RequestContext) -> &'a [Arc<CompiledErrorPages>] {
    if grpc::is_call(session) {
        // Nobody reads pages there.
        return &[];
    }
    match &ctx.rule {
        Some(rule) => &rule.error_pages,
        None => ctx.snapshot.error_pages(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn page(status: u16, fields: &[(HeaderName, &'static str)]) -> Result<Page, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let body = Bytes::from_static(b"page");
        page_of(
            Reply {
                status,
                headers,
                body,
            },
            503,
        )
    }

    #[test]
    fn a_page_is_waited_for_no_longer_than_the_request_may_take() {
        let (now, two) = (Instant::now(), Duration::from_secs(2));
        let in_ms = |ms| Some(now + Duration::from_millis(ms));
        assert_eq!(time_for(two, None, now), Some(two));
        assert_eq!(time_for(two, in_ms(9000), now), Some(two));
        let short = Some(Duration::from_millis(300));
        assert_eq!(time_for(two, in_ms(300), now), short);
        assert_eq!(time_for(two, in_ms(0), now), None);
    }

    #[test]
    fn an_answer_is_a_page_where_it_is_meant_as_one() {
        for status in [200, 204, 503] {
            let (content_type, body) = page(status, &[]).expect("a page");
            assert_eq!(
                (content_type.as_bytes(), &*body),
                (&b"text/html; charset=utf-8"[..], &b"page"[..])
            );
        }
        for status in [301, 404, 500, 502, 504] {
            assert!(page(status, &[]).is_err(), "{status}");
        }
        let (content_type, _) = page(200, &[(header::CONTENT_TYPE, "text/plain")]).expect("a page");
        assert_eq!(content_type, "text/plain");
        assert!(page(200, &[(header::CONTENT_ENCODING, "gzip")]).is_err());
    }
}
