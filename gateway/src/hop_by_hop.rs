//! Fields of one connection, which no proxy passes on.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Whether a field belongs to one connection: those that RFC 9110 section 7.6.1
/// names, and those that clients and proxies use alike. The name is in lower case.
pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The fields that `Connection` lists. It has no say over what is the message's
/// own, or over what a proxy says for itself.
pub(crate) fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    const OPTIONS: [&str; 3] = ["keep-alive", "close", "upgrade"];
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| {
            !OPTIONS
                .iter()
                .any(|option| token.eq_ignore_ascii_case(option))
        })
        .filter_map(|token| HeaderName::try_from(token).ok())
        .filter(|name| {
            !matches!(
                *name,
                header::HOST
                    | header::CONTENT_LENGTH
                    | header::CONTENT_TYPE
                    | header::CONTENT_ENCODING
                    | header::AUTHORIZATION
                    | header::COOKIE
            ) && !name.as_str().starts_with("x-forwarded-")
        })
        .collect()
}

/// Takes away the fields of one connection, those that `Connection` lists included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut gone = listed_in_connection(headers);
    gone.extend(
        headers
            .keys()
            .filter(|name| is_hop_by_hop(name.as_str()))
            .cloned(),
    );
    for name in &gone {
        headers.remove(name);
    }
}

/// The same for a request that goes on over HTTP/1.1, whose body stays framed as it came: without a
/// length and without this, hyper sends a `GET` as one that has no body.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    strip_hop_by_hop(headers);
    if is_chunked {
        let chunked = HeaderValue::from_static("chunked");
        headers.insert(header::TRANSFER_ENCODING, chunked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_connection_go_and_others_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop, Authorization"),
            ("x-hop", "1"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("authorization", "Bearer x"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("authorization"));
    }
}
