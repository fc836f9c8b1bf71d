//! Request ids: 128 random bits in hex.

use http::HeaderValue;

/// Header that carries the id, in both directions.
pub(crate) const REQUEST_ID: &str = "X-Request-Id";

/// Longest id of a trusted proxy that is kept.
const MAX_LENGTH: usize = 128;

/// Makes a new id.
pub(crate) fn new_request_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Keeps the id that a trusted proxy gave, where it is short and plain.
pub(crate) fn accept_request_id(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (!text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(plain))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_kept() {
        let accept = |text: &'static str| accept_request_id(&HeaderValue::from_static(text));
        assert_eq!(accept("a1-B2_c.d:e").as_deref(), Some("a1-B2_c.d:e"));
        assert_eq!(accept(""), None);
        assert_eq!(accept("a b"), None);
        assert_eq!(accept("a\"b"), None);
        assert_eq!(new_request_id().len(), 32);
    }
}
