//! What ties a request to an endpoint: the key of a hash, and the cookie that names
//! the endpoint of earlier requests.

use http::{HeaderMap, HeaderValue};
use pingora::http::RequestHeader;
use portcullis_config::{
    model::{Affinity, Balance, HashKey},
    route::cookies,
};

use super::RequestContext;
use crate::snapshot::{CompiledBackend, rendezvous};

/// Values of one cookie that are looked at.
const MAX_VALUES: usize = 8;

/// The hash of what a backend tells requests apart by; `None` where it does not.
pub(super) fn key(
    request: &RequestHeader,
    ctx: &RequestContext,
    backend: &CompiledBackend,
) -> Option<u64> {
    let Balance::Hash(key) = &backend.backend.balance else {
        return None;
    };
    let found = match key {
        HashKey::Path => return Some(rendezvous::hash(ctx.view.path.as_bytes())),
        HashKey::Address => None,
        HashKey::Header(name) => request.headers.get(name).map(HeaderValue::as_bytes),
        HashKey::Cookie(name) => values(&request.headers, name).next(),
    };
    Some(match (found, ctx.view.client) {
        (Some(value), _) => rendezvous::hash(value),
        (None, Some(client)) => rendezvous::hash(client.to_canonical().to_string().as_bytes()),
        (None, None) => rendezvous::hash(b""),
    })
}

/// The names of endpoints that the client brought.
pub(super) fn names<'a>(request: &'a RequestHeader, affinity: &Affinity) -> Vec<&'a [u8]> {
    values(&request.headers, &affinity.cookie)
        .take(MAX_VALUES)
        .collect()
}

/// The cookie that tells the client the name of its endpoint.
pub(super) fn set_cookie(
    ctx: &RequestContext,
    affinity: &Affinity,
    name: &str,
) -> Option<HeaderValue> {
    let secure = affinity.secure.unwrap_or(ctx.view.secure);
    let Affinity {
        cookie, attributes, ..
    } = affinity;
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{cookie}={name}{attributes}{secure}")).ok()
}

/// The values of a cookie, in the order of the request.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    cookies(headers)
        .filter(move |(known, _)| *known == name.as_bytes())
        .map(|(_, value)| value)
}
