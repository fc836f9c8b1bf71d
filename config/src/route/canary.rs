//! Whether a request is for the canary of its rule.

use http::HeaderMap;

use super::{condition, cookie::cookie};
use crate::model::{Canary, CanaryHeader};

/// What a request says of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryChoice {
    /// It asks for the canary.
    Always,
    /// It asks not to get it.
    Never,
    /// Nothing: the weight decides.
    Share,
}

impl Canary {
    /// What a request says: by its header, else by its cookie.
    pub fn choice(&self, headers: &HeaderMap) -> CanaryChoice {
        let by_header = match &self.header {
            None => CanaryChoice::Share,
            Some(CanaryHeader::Word(name)) => word(headers.get(name).map(|value| value.as_bytes())),
            Some(CanaryHeader::Value(wanted)) if condition::header(wanted, headers) => {
                CanaryChoice::Always
            }
            Some(CanaryHeader::Value(_)) => CanaryChoice::Share,
        };
        match (by_header, &self.cookie) {
            (CanaryChoice::Share, Some(name)) => word(cookie(headers, name)),
            _ => by_header,
        }
    }
}

fn word(value: Option<&[u8]>) -> CanaryChoice {
    match value {
        Some(b"always") => CanaryChoice::Always,
        Some(b"never") => CanaryChoice::Never,
        _ => CanaryChoice::Share,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::{
        model::{HeaderMatch, ValueMatch},
        read::{SourceFile, read},
        validate::validate,
    };
    use CanaryChoice::{Always, Never, Share};

    fn canary(header: Option<CanaryHeader>, cookie: Option<&str>) -> Canary {
        let text = "backends: [{name: b, endpoints: []}]".to_owned();
        let name = "a.yaml".to_owned();
        let read = read(&[SourceFile { name, text }]);
        let backend = &validate(&read.document, &read.origins).model.backends[0];
        Canary {
            backend: Arc::clone(backend),
            header,
            cookie: cookie.map(str::to_owned),
            weight: 50,
            total: 100,
        }
    }

    /// ING-40 of the cases from the field.
    #[test]
    fn the_header_goes_before_the_cookie_and_the_cookie_before_the_weight() {
        let name = HeaderName::from_static("x-c");
        let words = || Some(CanaryHeader::Word(name.clone()));
        let value = |value| {
            let name = name.clone();
            Some(CanaryHeader::Value(HeaderMatch { name, value }))
        };
        let yes = || value(ValueMatch::Exact("yes".into()));
        let even = || value(ValueMatch::Regex("^(?:[0-9]*[02468])$".parse().unwrap()));
        let cases = [
            (words(), Some("cc"), "always", "", Always),
            (words(), Some("cc"), "never", "", Never),
            (words(), Some("cc"), "never", "cc=always", Never),
            (words(), Some("cc"), "always", "cc=never", Always),
            (words(), Some("cc"), "other", "cc=always", Always),
            (words(), Some("cc"), "Always", "cc=never", Never),
            (words(), Some("cc"), "", "a=b; cc=never", Never),
            (words(), Some("cc"), "", "cc=other", Share),
            (words(), Some("cc"), "", "xcc=always", Share),
            (words(), Some("cc"), "", "", Share),
            (words(), None, "", "cc=always", Share),
            (None, Some("cc"), "always", "", Share),
            (None, Some("cc"), "never", "cc=always", Always),
            (yes(), Some("cc"), "yes", "cc=never", Always),
            (yes(), Some("cc"), "always", "", Share),
            (yes(), Some("cc"), "never", "cc=always", Always),
            (yes(), Some("cc"), "no", "cc=never", Never),
            (even(), None, "12", "", Always),
            (even(), None, "13", "", Share),
            (even(), None, "12x", "", Share),
            (None, None, "always", "cc=always", Share),
        ];
        for (header, cookie, value, cookies, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-c", value), ("cookie", cookies)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_str(value).unwrap());
                }
            }
            let canary = canary(header, cookie);
            assert_eq!(canary.choice(&headers), expected, "{canary:?} {headers:?}");
        }
    }
}
