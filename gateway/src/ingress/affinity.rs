//! What ties a request to an endpoint: the key of a hash, and the cookie that names
//! the endpoint of earlier requests.

use http::{HeaderMap, HeaderValue, header};
use pingora::http::RequestHeader;
use portcullis_config::model::{Affinity, Balance, HashKey};

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

/// The values of a cookie, in the order of the request (RFC 6265 section 4.2).
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
        .filter_map(move |pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(value)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name_in_every_field() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; ab=2;b=3", "ab=4=x; =5; ab", "xab=6; Ab=7"] {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        let found: Vec<_> = values(&headers, "ab").collect();
        assert_eq!(found, [b"2".as_slice(), b"4=x"]);
        assert_eq!(values(&headers, "c").next(), None);
    }
}
