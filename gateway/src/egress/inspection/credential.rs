//! Credentials that requests are given, and those of clients.

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_config::egress::{ClientCredential, Injection};

use super::super::overrides::is_same_field;

/// Whether a client shows a credential of its own where it must not.
pub(super) fn is_foreign(headers: &HeaderMap, injection: &Injection) -> bool {
    injection.client_credential == ClientCredential::Refuse
        && headers.keys().any(|name| is_same(name, &injection.header))
}

/// Puts a credential in the place of what is there.
pub(super) fn inject(headers: &mut HeaderMap, header: &HeaderName, value: HeaderValue) {
    take_away(headers, header);
    headers.insert(header, value);
}

/// Takes away a credential of the client's own that another would have replaced.
pub(super) fn withhold(headers: &mut HeaderMap, injection: &Injection) {
    if injection.client_credential == ClientCredential::Replace {
        take_away(headers, &injection.header);
    }
}

fn take_away(headers: &mut HeaderMap, header: &HeaderName) {
    let others: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_same(name, header))
        .cloned()
        .collect();
    for name in others {
        headers.remove(name);
    }
}

fn is_same(name: &HeaderName, other: &HeaderName) -> bool {
    is_same_field(name.as_str().as_bytes(), other.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injection(client_credential: ClientCredential) -> Injection {
        Injection {
            header: HeaderName::from_static("x-api-key"),
            value: "key".into(),
            prefix: String::new(),
            client_credential,
        }
    }

    #[test]
    fn a_credential_of_a_client_is_refused_or_replaced_in_any_spelling() {
        for name in ["x-api-key", "x_api_key", "x-api_key"] {
            let mut headers = HeaderMap::new();
            let name = HeaderName::from_static(name);
            headers.append(&name, HeaderValue::from_static("one"));
            headers.append(&name, HeaderValue::from_static("two"));
            assert!(is_foreign(&headers, &injection(ClientCredential::Refuse)));
            assert!(!is_foreign(&headers, &injection(ClientCredential::Replace)));
            let header = HeaderName::from_static("x-api-key");
            inject(&mut headers, &header, HeaderValue::from_static("ours"));
            assert_eq!(headers.len(), 1);
            assert_eq!(headers["x-api-key"], "ours");
        }
        for (setting, left) in [
            (ClientCredential::Refuse, 1),
            (ClientCredential::Replace, 0),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x_api_key", HeaderValue::from_static("theirs"));
            withhold(&mut headers, &injection(setting));
            assert_eq!(headers.len(), left, "{setting:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-api-keys", HeaderValue::from_static("other"));
        assert!(!is_foreign(&headers, &injection(ClientCredential::Refuse)));
        inject(
            &mut headers,
            &HeaderName::from_static("x-api-key"),
            HeaderValue::from_static("ours"),
        );
        assert_eq!(headers.len(), 2);
    }
}
