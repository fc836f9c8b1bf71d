//! One request inside a tunnel, or a plain one that is sent over TLS, from its head to the answer of the
//! destination.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header, uri::PathAndQuery,
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, http::request::Parts};
use portcullis_config::{
    egress::{Authority, Injection, Wanted},
    route::{CanonicalPath, canonical_path},
};

use super::{
    super::{
        answer::{About, Refusal},
        audit::Record,
        forward::{Counted, answered, failure, host_of},
        overrides::is_echo,
        standing::{Carried, Standing},
    },
    Protocol,
    bodies::{AnyBody, Guarded, until_cut},
    credential,
    judge::{Judged, judge, object},
    open::Told,
    tunnel::Inside,
    waf,
};
use crate::hop_by_hop::{strip_hop_by_hop, strip_request};

/// A request, as its head says.
pub(super) struct Asked {
    /// Whom it is for, or the reason code of what names nobody.
    pub(super) authority: Result<Authority, &'static str>,
    /// The method that a field asks for.
    pub(super) overriding: Option<String>,
    /// Path and query, as they were sent.
    pub(super) target: String,
    /// Bytes of its head, which carry something out as well.
    pub(super) length: usize,
}

impl Asked {
    /// One that is not there: there is one request in a stream that hyper reads.
    pub(super) fn second() -> Self {
        Self {
            authority: Err("second_request"),
            overriding: None,
            target: String::new(),
            length: 0,
        }
    }
}

/// Marks the answer to a request that the destination has not taken.
#[derive(Clone, Copy)]
pub(super) struct Untaken;

/// Answers a request: as the destination does, or with why it does not get there.
pub(super) async fn answer(
    inside: Arc<Inside>,
    asked: Asked,
    request: Request<Incoming>,
) -> Response<AnyBody> {
    let end = asked.target.find('?').unwrap_or(asked.target.len());
    let method = request.method().as_str();
    let record = inside.record(method, &asked.target[..end]);
    let mut told = inside.open.begin(record, &inside.services);
    told.moved();
    let cut = told.cut();
    let done = tokio::select! {
        done = exchange(&inside, asked, request, &mut told) => done,
        reason = until_cut(cut) => Err(Refusal::changed(reason)),
    };
    told.moved();
    match done {
        Ok(response) => {
            told.record.status = response.status().as_u16();
            let (head, body) = response.into_parts();
            let body = Counted::down(body, &told.traffic);
            Response::from_parts(head, Guarded::response(body, told))
        }
        Err(refusal) => {
            told.refused(&refusal);
            let about = inside.about(&told.record.id);
            let mut response = failure(&refusal, &about);
            if refusal.reason == "upstream_refused" {
                response.extensions_mut().insert(Untaken);
            }
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        }
    }
}

async fn exchange(
    inside: &Inside,
    asked: Asked,
    request: Request<Incoming>,
    told: &mut Told,
) -> Result<Response<Incoming>, Refusal> {
    let (mut head, body) = request.into_parts();
    if head.method == Method::CONNECT || is_upgrade(&head.headers) {
        return Err(Refusal::new(403, "upgrade_refused"));
    }
    let overriding = asked.overriding.as_deref();
    if is_echo(head.method.as_str()) || overriding.is_some_and(is_echo) {
        return Err(Refusal::new(403, "trace_refused"));
    }
    match asked.authority {
        Err(reason) => return Err(Refusal::new(400, reason)),
        Ok(authority) if authority != inside.authority => {
            return Err(Refusal::new(421, "authority_mismatch"));
        }
        Ok(_) => {}
    }
    let path = canonical(&asked.target).ok_or_else(|| Refusal::new(403, "non_canonical_path"))?;
    let seen = (head.method.as_str(), overriding, path.canonical());
    let judged = judge(inside, seen, &mut told.record)?;
    let carried = Carried::Request {
        method: seen.0.to_owned(),
        overriding: overriding.map(str::to_owned),
        path: seen.2.to_owned(),
        tls: true,
    };
    let (state, holds) = (&inside.state, (judged.until, None));
    let standing = Standing::new(state, &inside.authority, &told.record, holds, carried);
    if let Some(reason) = told.stand(standing) {
        return Err(Refusal::changed(reason));
    }
    pay(asked.length, told)?;
    let injections = judged.injections();
    for (injection, wanted) in &injections {
        if credential::is_foreign(&head.headers, injection) {
            object(wanted, "foreign_credential", &mut told.record)?;
        }
    }
    let request = (&head, asked.target.as_str());
    let (body, is_objected) = waf::inspect(inside, &judged, request, body, told).await?;
    prepare(&mut head, &asked.target, inside)?;
    // What some policy or rule would refuse, and only reports, is no request to speak for.
    let is_clean = inside.tunnel.is_allowed() && told.record.is_allowed() && !is_objected;
    if is_clean && told.charge().told().is_none() {
        give_credentials(&judged, &injections, &mut head.headers, &mut told.record)?;
    } else {
        for (injection, _) in &injections {
            credential::withhold(&mut head.headers, injection);
        }
    }
    let waiting = inside
        .upstream
        .send(Request::from_parts(head, body), &inside.open.unsent)?;
    let response = answered(waiting, inside.limits.idle_timeout, &told.traffic).await?;
    let (mut head, body) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    // The version is that of the connection.
    head.version = Version::default();
    Ok(Response::from_parts(head, body))
}

/// Takes a head of the quotas of the tunnel.
///
/// # Errors
/// 429 where one has not so much left.
fn pay(length: usize, told: &Told) -> Result<(), Refusal> {
    if told.traffic.may_send(length) {
        return Ok(());
    }
    Err(Refusal::unsent(told.charge()))
}

/// Makes the head one for the destination.
fn prepare(head: &mut Parts, target: &str, inside: &Inside) -> Result<(), Refusal> {
    let bad = || Refusal::new(400, "bad_uri");
    let wants_trailers = head
        .headers
        .get_all(header::TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    match inside.protocol {
        Protocol::Http1 => strip_request(&mut head.headers),
        Protocol::Http2 => strip_hop_by_hop(&mut head.headers),
    }
    let host = host_of(&inside.authority, 443)?;
    let target: PathAndQuery = target.parse().map_err(|_| bad())?;
    match inside.protocol {
        Protocol::Http1 => {
            head.version = Version::HTTP_11;
            head.uri = Uri::from(target);
            head.headers.insert(header::HOST, host);
        }
        Protocol::Http2 => {
            head.version = Version::HTTP_2;
            head.headers.remove(header::HOST);
            if wants_trailers {
                // The one value that HTTP/2 has (RFC 9113 section 8.2.2); gRPC asks for it.
                let trailers = HeaderValue::from_static("trailers");
                head.headers.insert(header::TE, trailers);
            }
            let uri = Uri::builder()
                .scheme("https")
                .authority(host.as_bytes())
                .path_and_query(target);
            head.uri = uri.build().map_err(|_| bad())?;
        }
    }
    Ok(())
}

/// Adds what the entries that allow the request say, after all that the client may take away.
fn give_credentials(
    judged: &Judged,
    injections: &[(&Injection, &Wanted)],
    headers: &mut HeaderMap,
    record: &mut Record,
) -> Result<(), Refusal> {
    for (injection, _) in injections.iter().rev() {
        let value = judged.egress.credential(injection);
        // Without it the request would be somebody else's.
        let value = value.ok_or_else(|| Refusal::new(503, "credential_missing"))?;
        credential::inject(headers, &injection.header, value.clone());
        if let Some(inside) = &mut record.inside {
            inside.injected = Some(injection.header.to_string());
        }
    }
    Ok(())
}

/// The path, where it is in its one form: what is decided on is what is sent.
fn canonical(target: &str) -> Option<CanonicalPath<'_>> {
    let end = target.find('?').unwrap_or(target.len());
    let raw = &target[..end];
    let path = canonical_path(raw.as_bytes()).ok()?;
    let path = path.without_escaped_separator().ok()?;
    (path.forward() == raw).then_some(path)
}

/// Whether a connection is to become another protocol. `h2c` is none inside TLS, and is left out
/// (RFC 9113 section 3.1).
fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|value| {
        let mut protocols = value.as_bytes().split(|&byte| byte == b',');
        protocols.any(|protocol| !protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    })
}

impl Inside {
    /// What a client is told of a request.
    pub(super) fn about(&self, id: &str) -> About {
        let egress = self.state.egress();
        About {
            contact: egress.and_then(|egress| egress.contact.clone()),
            ..About::of(id, &self.authority)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form_or_goes_nowhere() {
        for (target, expected) in [
            ("/", Some("/")),
            ("/a/b?c=/../d", Some("/a/b")),
            ("/%61%20b", Some("/a%20b")),
            ("/a/../b", None),
            ("/a/%2e%2e/b", None),
            ("/a/./b", None),
            ("/a//b", None),
            ("/a%2fb", None),
            ("/a%5Cb", None),
            ("/a\\b", None),
            ("/a%00", None),
            ("/a/..;x/b", None),
            ("*", None),
        ] {
            let path = canonical(target);
            let path = path.as_ref().map(CanonicalPath::canonical);
            assert_eq!(path, expected, "{target}");
        }
    }

    #[test]
    fn what_turns_a_connection_into_something_else_is_known() {
        for (values, expected) in [
            (&["h2c"][..], false),
            (&["websocket"], true),
            (&["h2c, WebSocket"], true),
            (&["h2c", "TLS/1.0"], true),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::UPGRADE, HeaderValue::from_static(value));
            }
            assert_eq!(is_upgrade(&headers), expected, "{values:?}");
        }
    }
}
