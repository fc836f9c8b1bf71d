//! Labels and names of objects as a command line has them.

use std::str::FromStr;

/// Longest name of a label, its value, and a namespace.
const MAX: usize = 63;

/// Longest prefix of a label (RFC 1123 subdomain).
const MAX_PREFIX: usize = 253;

/// A label, written as `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its key, with a prefix or without.
    pub key: String,
    /// Its value, which may be empty.
    pub value: String,
}

impl FromStr for Label {
    type Err = String;

    /// Reads `key=value` by the rules of Kubernetes for labels ("Labels and Selectors", syntax
    /// and character set).
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
        let (prefix, name) = match key.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, key),
        };
        if prefix.is_some_and(|prefix| !is_subdomain(prefix)) || !is_word(name) {
            return Err(format!("{key:?} is no key of a label"));
        }
        if !value.is_empty() && !is_word(value) {
            return Err(format!("{value:?} is no value of a label"));
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Tells whether a text is the name of a namespace: an RFC 1123 label.
pub fn is_namespace(text: &str) -> bool {
    text.len() <= MAX && is_subdomain(text) && !text.contains('.')
}

/// Tells whether a text is a name of several labels: an RFC 1123 subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_PREFIX && text.split('.').all(is_label)
}

fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX
        && bytes.iter().copied().all(plain)
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_that_kubernetes_takes() {
        for good in [
            "app=portcullis",
            "app.kubernetes.io/name=portcullis",
            "a=",
            "Tier_1.x=Admin",
        ] {
            let label: Label = good.parse().expect(good);
            assert_eq!(format!("{}={}", label.key, label.value), good);
        }
        let long = format!("a={}", "x".repeat(64));
        for bad in [
            "app", "=x", "a b=x", "/a=x", "A.io/a=x", "a/b/c=x", "-a=x", "a=x y", "a=-x", &long,
        ] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }

    #[test]
    fn namespaces_are_labels_of_dns() {
        let longest = "x".repeat(63);
        for good in ["agents", "a-1", "1", &longest] {
            assert!(is_namespace(good), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "A", "a.b", "-a", "a_b", "a\n", &long] {
            assert!(!is_namespace(bad), "{bad:?}");
        }
    }
}
