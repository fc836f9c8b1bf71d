//! Where a browser is sent to sign in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986 section 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The address of a sign-in page, with places for the one that was asked for.
///
/// Where it leads is the text's own: what was asked for can only stand behind the
/// host, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Url,
    Path,
}

impl SignIn {
    /// Reads the text of a setting.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let not = |reason: &str| Err(format!("{text:?} is no place to sign in: {reason}"));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['"', '<', '>', '\\'])
        {
            return not("a URL has visible ASCII alone, other characters are escaped in it");
        }
        let path = if text.starts_with('/') {
            text
        } else {
            let rest = ["https://", "http://"]
                .iter()
                .find_map(|scheme| text.strip_prefix(scheme));
            let Some(rest) = rest else {
                return not("it begins with https://, http:// or /");
            };
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            if authority.is_empty() || authority.contains(['{', '@']) {
                return not("a host is missing, or is not written out");
            }
            path
        };
        if path.starts_with("//") {
            return not("a path begins with one slash");
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let (part, after) = if let Some(after) = from.strip_prefix("{url}") {
                (Part::Url, after)
            } else if let Some(after) = from.strip_prefix("{path}") {
                (Part::Path, after)
            } else {
                return not("in braces it knows {url} and {path}");
            };
            parts.extend([Part::Text(before.to_owned()), part]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Whether the page is told what was asked for.
    pub fn comes_back(&self) -> bool {
        self.0.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The address for a request of `path`, query included, below `origin`, which is
    /// scheme, host and port.
    pub fn location(&self, origin: &str, path: &str) -> String {
        let mut location = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => location.push_str(text),
                Part::Url => {
                    location.extend(utf8_percent_encode(origin, ESCAPED));
                    location.extend(utf8_percent_encode(path, ESCAPED));
                }
                Part::Path => location.extend(utf8_percent_encode(path, ESCAPED)),
            }
        }
        location
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_stands_escaped_behind_the_host() {
        let origin = "https://a.example:8443";
        for (text, path, expected) in [
            (
                "https://auth.example/start?rd={url}",
                "/a b?x=1&y=2#z",
                "https://auth.example/start?rd=https%3A%2F%2Fa.example%3A8443%2Fa%20b%3Fx%3D1%26y%3D2%23z",
            ),
            (
                "/oauth2/start?rd={path}&o={url}",
                "//evil.example/%2F\r\n",
                "/oauth2/start?rd=%2F%2Fevil.example%2F%252F%0D%0A&o=https%3A%2F%2Fa.example%3A8443%2F%2Fevil.example%2F%252F%0D%0A",
            ),
            ("http://auth.example", "/x", "http://auth.example"),
            (
                "https://auth.example?{url}",
                "/-._~é",
                "https://auth.example?https%3A%2F%2Fa.example%3A8443%2F-._~%C3%A9",
            ),
        ] {
            let sign_in = SignIn::parse(text).unwrap();
            assert_eq!(sign_in.location(origin, path), expected, "{text}");
            assert_eq!(sign_in.comes_back(), text.contains('{'), "{text}");
        }
    }

    #[test]
    fn where_it_leads_is_never_the_clients_to_say() {
        for text in [
            "",
            "{url}",
            "{path}",
            "//auth.example/{path}",
            "auth.example/start",
            "https://",
            "https:///start",
            "https://{url}",
            "https://auth.example{path}",
            "https://auth.example@{path}",
            "https://user@auth.example/",
            "https://auth.example//x",
            "javascript:alert(1)",
            "ftp://auth.example/",
            "/start?rd={uri}",
            "/start?rd={url",
            "/start?rd=url}",
            "/a b",
            "/a\r\nSet-Cookie: a=b",
            "/\\evil.example",
            "/é",
        ] {
            assert!(SignIn::parse(text).is_err(), "{text:?}");
        }
    }
}
