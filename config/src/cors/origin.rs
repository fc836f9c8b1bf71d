//! Origins, and patterns of origins.

use std::fmt;

use crate::route::canonical_host;

/// An origin as browsers write it (RFC 6454 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

/// Origins of one scheme and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: String,
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exact(String),
    /// One label or more before this.
    Suffix(String),
    Any,
}

impl OriginPattern {
    /// Parses `scheme://host`, `scheme://*.suffix` or `scheme://*`, each with or without a port.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "null" {
            return Err(
                "`null` is the origin of pages that hide theirs, which anybody can make".into(),
            );
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            format!("{text:?} is not an origin: write the scheme too, as https://app.example.com")
        })?;
        let scheme = scheme.to_ascii_lowercase();
        if !is_scheme(&scheme) {
            return Err(format!(
                "{text:?} is not an origin: {scheme:?} is no scheme"
            ));
        }
        if rest.contains(['/', '?', '#', '@']) {
            return Err(format!(
                "{text:?} is not an origin: it is scheme, host and port, without anything behind"
            ));
        }
        let rest = rest.to_ascii_lowercase();
        let (wildcard, named) = match rest.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, rest.as_str()),
        };
        let (any, named) = match named.strip_prefix('*') {
            // A name stands in for the star, so that the port is read the same way.
            Some(port) if !wildcard => (true, format!("any{port}")),
            _ => (false, named.to_owned()),
        };
        if named.contains('*') || any && !matches!(named.as_bytes().get(3), None | Some(b':')) {
            return Err(format!(
                "{text:?} is not an origin: a `*` stands for the whole host, or before a dot"
            ));
        }
        let (host, port) = canonical_host(&named)
            .map_err(|reason| format!("{text:?} is not an origin: {reason}"))?;
        let host = match (any, wildcard) {
            (true, _) => Host::Any,
            (_, true) => Host::Suffix(host.into_owned()),
            _ => Host::Exact(host.into_owned()),
        };
        let port = port.or(default_port(&scheme));
        Ok(Self { scheme, host, port })
    }

    /// The name below which every host is meant.
    pub fn suffix(&self) -> Option<&str> {
        match &self.host {
            Host::Suffix(suffix) => Some(suffix),
            Host::Exact(_) | Host::Any => None,
        }
    }

    /// Whether an origin, as it stands in a request, is one of these.
    pub(super) fn matches(&self, origin: &str) -> bool {
        let Some(origin) = Origin::parse(origin) else {
            return false;
        };
        origin.scheme == self.scheme
            && origin.port == self.port
            && match &self.host {
                Host::Any => true,
                Host::Exact(host) => origin.host == host,
                Host::Suffix(suffix) => origin
                    .host
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|left| left.len() > 1 && left.ends_with('.')),
            }
    }
}

impl<'a> Origin<'a> {
    /// Reads an origin; `null`, a list, and what no browser writes are none.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = canonical_host(rest).ok()?;
        let after = rest.strip_prefix(&*host)?;
        if !is_scheme(scheme) || after.is_empty() != port.is_none() {
            return None;
        }
        let host = &rest[..host.len()];
        let port = port.or(default_port(scheme));
        Some(Self { scheme, host, port })
    }
}

/// A scheme in lower case (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// As it is written in a document.
impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match &self.host {
            Host::Exact(host) => f.write_str(host)?,
            Host::Suffix(suffix) => write!(f, "*.{suffix}")?,
            Host::Any => f.write_str("*")?,
        }
        match self.port {
            Some(port) if self.port != default_port(&self.scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let cases: [(&str, &[&str], &[&str]); 6] = [
            (
                "https://app.example.com",
                &["https://app.example.com", "https://app.example.com:443"],
                &[
                    "http://app.example.com",
                    "https://app.example.com:8443",
                    "https://app.example.com.evil.test",
                    "https://evilapp.example.com",
                    "https://x.app.example.com",
                    "https://app.example.com/",
                    "https://app.example.com.",
                    "https://app.example.com:",
                    "https://app.example.com:443x",
                    "https://user@app.example.com",
                    "https://app.example.com https://evil.test",
                    "https://app_example.com",
                    "null",
                    "",
                ],
            ),
            (
                "https://*.example.com",
                &["https://a.example.com", "https://a.b.example.com"],
                &[
                    "https://example.com",
                    "https://evilexample.com",
                    "https://.example.com",
                    "https://a.example.com:8443",
                    "https://a.example.com.evil.test",
                    "https://evil.test/.example.com",
                    "https://evil.test#.example.com",
                    "https://evil.test\\.example.com",
                    "https://[::1].example.com",
                    "null",
                ],
            ),
            (
                "http://localhost:3000",
                &["http://localhost:3000"],
                &["http://localhost", "http://localhost:30000"],
            ),
            (
                "http://*:8080",
                &["http://a.test:8080", "http://[::1]:8080"],
                &["http://a.test", "https://a.test:8080", "null"],
            ),
            (
                "http://[::1]:3000",
                &["http://[::1]:3000"],
                &["http://[0:0::1]:3000", "http://[::1]"],
            ),
            (
                "capacitor://localhost",
                &["capacitor://localhost"],
                &["https://localhost"],
            ),
        ];
        for (pattern, same, other) in cases {
            let pattern = OriginPattern::parse(pattern).unwrap();
            assert_eq!(OriginPattern::parse(&pattern.to_string()).unwrap(), pattern);
            for origin in same {
                assert!(pattern.matches(origin), "{pattern} {origin}");
            }
            for origin in other {
                assert!(!pattern.matches(origin), "{pattern} {origin}");
            }
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "null",
            "app.example.com",
            "*.example.com",
            "https://app.example.com/",
            "https://app.example.com/login",
            "https://",
            "https://*app.example.com",
            "https://app.*.com",
            "https://**",
            "https://*.*.com",
            "https://*.",
            "https://a:0x1",
            "https://a:70000",
            "ht tp://a",
            "://a",
        ] {
            assert!(OriginPattern::parse(text).is_err(), "{text}");
        }
    }
}
