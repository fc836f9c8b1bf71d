//! What a server is asked about a request.

use http::{HeaderName, HeaderValue, header};
use portcullis_config::model::External;

use super::{
    RequestContext, Session,
    forward::{
        X_FORWARDED_HOST, client_headers, forwarded_fields, is_identity, is_ours,
        only_from_trusted, tells_of_certificate,
    },
    headers::alike,
    rewrite::query_of,
};
use crate::{hop_by_hop::listed_in_connection, inspect::joined_cookies, snapshot::CompiledRule};

/// Fields that say what is asked about; never a client's to say.
const ABOUT: [HeaderName; 6] = [
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-auth-request-redirect"),
];

/// What a server is asked about a request.
pub(super) struct About<'a> {
    /// Method.
    pub(super) method: &'a str,
    /// Scheme, host and port that the client asks; the scheme as a trusted proxy tells it.
    pub(super) origin: String,
    /// Path that was judged, with the query.
    pub(super) path: String,
    /// Host for the question, where its settings name none.
    pub(super) host: String,
    /// Fields of the client that are sent.
    pub(super) sent: Vec<(HeaderName, HeaderValue)>,
}

impl<'a> About<'a> {
    /// Gathers what is to be asked.
    pub(super) fn new(
        settings: &External,
        rule: &CompiledRule,
        session: &'a Session,
        ctx: &'a RequestContext,
    ) -> Self {
        let host = host(ctx);
        let scheme = if ctx.view.secure { "https" } else { "http" };
        Self {
            method: session.req_header().method.as_str(),
            origin: format!("{scheme}://{host}"),
            path: path(session, ctx),
            host,
            sent: sent(settings, rule, session, ctx),
        }
    }

    /// All fields of the question: those of the client, what the gateway tells any
    /// backend, and what is asked about.
    pub(super) fn fields(
        &self,
        session: &Session,
        ctx: &RequestContext,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = self.sent.clone();
        let mut put = |name: &HeaderName, value: &[u8]| {
            // What was judged has no control characters.
            if let Ok(value) = HeaderValue::from_bytes(value) {
                fields.push((name.clone(), value));
            }
        };
        forwarded_fields(session.req_header(), ctx, |name, _, value| {
            if name != X_FORWARDED_HOST {
                put(name, value);
            }
        });
        put(&X_FORWARDED_HOST, self.host.as_bytes());
        let (path, method) = (self.path.as_bytes(), self.method.as_bytes());
        let url = format!("{}{}", self.origin, self.path);
        let said = [url.as_bytes(), path, method, path, method, path];
        for (name, value) in ABOUT.iter().zip(said) {
            put(name, value);
        }
        fields
    }
}

/// Host and port that were judged. What a proxy tells of another host is not asked about:
/// the rule, and the backend, are those of this one.
fn host(ctx: &RequestContext) -> String {
    match (ctx.view.host.as_str(), ctx.view.port) {
        ("", _) => ctx.facts.local.to_string(),
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}

/// The path that was judged, in its canonical form, with the query.
fn path(session: &Session, ctx: &RequestContext) -> String {
    let query = query_of(session.req_header().raw_path());
    match query {
        None => ctx.view.path.clone(),
        Some(query) => format!("{}?{}", ctx.view.path, String::from_utf8_lossy(query)),
    }
}

/// The fields of the client that are sent: none of its connection, its body, and
/// none that would make the answer another than the one to this question.
fn sent(
    settings: &External,
    rule: &CompiledRule,
    session: &Session,
    ctx: &RequestContext,
) -> Vec<(HeaderName, HeaderValue)> {
    let headers = &session.req_header().headers;
    let listed = listed_in_connection(headers);
    let passwords_end_here = rule
        .rule
        .policies
        .authentication
        .iter()
        .any(|authentication| !authentication.forwards_credentials());
    let told_of_certificate = client_headers(ctx).is_some();
    let stays = |name: &HeaderName| {
        is_ours(name.as_str())
            || describes_body_or_condition(name.as_str())
            || (!ctx.view.trusted && only_from_trusted(name.as_str()))
            || *name == X_FORWARDED_HOST
            || ABOUT
                .iter()
                .any(|known| alike(known.as_str(), name.as_str()))
            || (told_of_certificate && tells_of_certificate(name.as_str()))
            || match *name {
                header::AUTHORIZATION => passwords_end_here,
                _ => is_identity(name, rule),
            }
            || listed.contains(name)
            || settings
                .request_headers
                .as_ref()
                .is_some_and(|wanted| !wanted.contains(name))
    };
    let cookies = joined_cookies(headers);
    let mut sent: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !stays(name) && (cookies.is_none() || *name != header::COOKIE))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(cookies) = cookies.filter(|_| !stays(&header::COOKIE))
        && let Ok(cookies) = HeaderValue::from_bytes(&cookies)
    {
        sent.push((header::COOKIE, cookies));
    }
    sent
}

fn describes_body_or_condition(name: &str) -> bool {
    name.starts_with("if-")
        || name.starts_with("sec-websocket-")
        || matches!(
            name,
            "range"
                | "content-type"
                | "content-encoding"
                | "content-language"
                | "content-location"
                | "content-md5"
                | "content-digest"
                | "content-range"
                | "content-disposition"
        )
}
