//! One canonical path.
//!
//! Router, access, WAF and backend must see the same path, or one can be told a
//! lie about it. What has two readings is refused; what has one is normalised
//! (RFC 3986 section 6.2.2).

use std::borrow::Cow;

/// A path in its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    canonical: Cow<'a, str>,
    forward: Cow<'a, str>,
    escaped_separator: Option<PathProblem>,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// It does not start with `/`.
    #[error("it does not start with /")]
    Relative,
    /// A `%` without two hexadecimal digits.
    #[error("a % without two hexadecimal digits")]
    MalformedEscape,
    /// A control byte, as it is or escaped.
    #[error("a control byte")]
    ControlByte,
    /// An escaped slash, which some backends take for a separator.
    #[error("an escaped slash")]
    EncodedSlash,
    /// A backslash, escaped or not, which some backends take for a separator.
    #[error("a backslash")]
    Backslash,
    /// `.` or `..` beside an escaped slash or backslash: who takes that for a
    /// separator goes up.
    #[error("a dot segment beside an escaped slash")]
    EncodedDotSegment,
    /// A space, or a byte beyond ASCII, that is not escaped.
    #[error("a space or a byte beyond ASCII, not escaped")]
    UnescapedByte,
    /// A dot segment with a parameter, as `/..;x/`: Java servers drop the parameter and
    /// go up, others see a name.
    #[error("a dot segment with a parameter")]
    DotParameter,
    /// Dot segments lead above the root.
    #[error("dot segments that lead above the root")]
    AboveRoot,
}

impl PathProblem {
    /// The reason as a short code, for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Relative => "relative-path",
            Self::MalformedEscape => "malformed-escape",
            Self::ControlByte => "control-byte",
            Self::EncodedSlash => "encoded-slash",
            Self::Backslash => "backslash",
            Self::EncodedDotSegment => "encoded-dot-segment",
            Self::UnescapedByte => "unescaped-byte",
            Self::DotParameter => "dot-parameter",
            Self::AboveRoot => "above-root",
        }
    }
}

impl<'a> CanonicalPath<'a> {
    /// The form for every decision: unreserved bytes decoded, other escapes in
    /// capitals, dot segments resolved, double slashes merged.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The form for the backend: the client's own escapes, dot segments
    /// resolved, double slashes merged. The raw path itself where it is clean.
    pub fn forward(&self) -> &str {
        &self.forward
    }

    /// An escaped slash or backslash, where one is in the path. It stays escaped in
    /// both forms, and is a part of its segment; a route may refuse it.
    pub fn escaped_separator(&self) -> Option<PathProblem> {
        self.escaped_separator
    }

    /// The path, where no slash or backslash is escaped in it.
    ///
    /// # Errors
    /// [`PathProblem::EncodedSlash`] or [`PathProblem::Backslash`].
    pub fn without_escaped_separator(self) -> Result<Self, PathProblem> {
        match self.escaped_separator {
            None => Ok(self),
            Some(problem) => Err(problem),
        }
    }

    /// Both forms.
    pub fn into_parts(self) -> (Cow<'a, str>, Cow<'a, str>) {
        (self.canonical, self.forward)
    }
}

/// Finds the canonical form of a raw path, without its query.
///
/// # Errors
/// Paths that backends read in different ways; see [`PathProblem`].
pub fn canonical_path(raw: &[u8]) -> Result<CanonicalPath<'_>, PathProblem> {
    let (text, escaped_separator) = check(raw)?;
    if escaped_separator.is_some() && text[1..].split('/').any(has_encoded_dot_segment) {
        return Err(PathProblem::EncodedDotSegment);
    }
    if text[1..].split('/').any(is_dot_with_parameter) {
        return Err(PathProblem::DotParameter);
    }
    if is_clean(raw) {
        return Ok(CanonicalPath {
            canonical: Cow::Borrowed(text),
            forward: Cow::Borrowed(text),
            escaped_separator,
        });
    }
    let mut canonical: Vec<String> = Vec::new();
    let mut forward: Vec<&str> = Vec::new();
    let mut directory = true;
    for segment in text[1..].split('/') {
        let decoded = decode_unreserved(segment);
        directory = true;
        match decoded.as_str() {
            "" | "." => {}
            ".." => {
                canonical.pop().ok_or(PathProblem::AboveRoot)?;
                forward.pop();
            }
            _ => {
                directory = false;
                canonical.push(decoded);
                forward.push(segment);
            }
        }
    }
    let end = if directory && !canonical.is_empty() {
        "/"
    } else {
        ""
    };
    Ok(CanonicalPath {
        canonical: Cow::Owned(format!("/{}{end}", canonical.join("/"))),
        forward: Cow::Owned(format!("/{}{end}", forward.join("/"))),
        escaped_separator,
    })
}

/// Checks every byte; the second value is an escaped separator, where there is one.
fn check(raw: &[u8]) -> Result<(&str, Option<PathProblem>), PathProblem> {
    let mut escaped_separator = None;
    if raw.first() != Some(&b'/') {
        return Err(PathProblem::Relative);
    }
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return Err(PathProblem::MalformedEscape);
                };
                let value = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                match value.ok_or(PathProblem::MalformedEscape)? {
                    0..0x20 | 0x7f => return Err(PathProblem::ControlByte),
                    b'/' => escaped_separator = Some(PathProblem::EncodedSlash),
                    b'\\' => escaped_separator = Some(PathProblem::Backslash),
                    _ => {}
                }
                rest = after;
            }
            b'\\' => return Err(PathProblem::Backslash),
            0..0x20 | 0x7f => return Err(PathProblem::ControlByte),
            b' ' | 0x80.. => return Err(PathProblem::UnescapedByte),
            _ => {}
        }
    }
    // Only ASCII is left.
    let text = std::str::from_utf8(raw).map_err(|_| PathProblem::UnescapedByte)?;
    Ok((text, escaped_separator))
}

/// Whether a segment, read with its escaped slashes as separators, has a dot segment.
fn has_encoded_dot_segment(segment: &str) -> bool {
    let decoded = decode_unreserved(segment)
        .replace("%2F", "/")
        .replace("%5C", "/");
    decoded.contains('/')
        && decoded.split('/').any(|part| {
            let name = part.split([';']).next().unwrap_or_default();
            let name = name.split("%3B").next().unwrap_or_default();
            matches!(name, "." | "..")
        })
}

fn is_dot_with_parameter(segment: &str) -> bool {
    if !segment.starts_with(['.', '%']) {
        return false;
    }
    let end = segment
        .find(';')
        .into_iter()
        .chain(segment.to_ascii_lowercase().find("%3b"))
        .min();
    end.is_some_and(|end| matches!(decode_unreserved(&segment[..end]).as_str(), "." | ".."))
}

/// Whether nothing is escaped, doubled or a dot segment, so that both forms are the raw path.
fn is_clean(raw: &[u8]) -> bool {
    let mut segments = raw[1..].split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        // Nothing after the last slash is a folder, nothing between two is a doubled slash.
        let doubled = segment.is_empty() && segments.peek().is_some();
        if doubled || matches!(segment, b"." | b"..") || segment.contains(&b'%') {
            return false;
        }
    }
    true
}

fn decode_unreserved(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    let bytes = segment.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes[at] == b'%';
        // Escapes were checked: two hexadecimal digits follow.
        match escape.then(|| bytes.get(at + 1..at + 3)).flatten() {
            Some(digits) => {
                let value = digits
                    .iter()
                    .fold(0, |value, &digit| value << 4 | hex(digit).unwrap_or(0));
                if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                    out.push(char::from(value));
                } else {
                    out.push('%');
                    out.extend(
                        digits
                            .iter()
                            .map(|digit| char::from(digit.to_ascii_uppercase())),
                    );
                }
                at += 3;
            }
            None => {
                out.push(char::from(bytes[at]));
                at += 1;
            }
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (raw, canonical, forward) in [
            ("/", "/", "/"),
            ("/a/b", "/a/b", "/a/b"),
            ("/a/b/", "/a/b/", "/a/b/"),
            ("/a//b///c", "/a/b/c", "/a/b/c"),
            ("/a/./b/../c", "/a/c", "/a/c"),
            ("/a/%2e%2E/c", "/c", "/c"),
            ("/a/..", "/", "/"),
            ("/a/b/..", "/a/", "/a/"),
            ("/a/.", "/a/", "/a/"),
            ("/%61%7e/%20x%c3%a9", "/a~/%20x%C3%A9", "/%61%7e/%20x%c3%a9"),
            ("/k%24v/z%20q", "/k%24v/z%20q", "/k%24v/z%20q"),
            ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
            ("/...", "/...", "/..."),
            ("/a;p=1/b", "/a;p=1/b", "/a;p=1/b"),
            ("/...;p/.x;y", "/...;p/.x;y", "/...;p/.x;y"),
        ] {
            let path = canonical_path(raw.as_bytes()).unwrap();
            assert_eq!(
                (path.canonical(), path.forward()),
                (canonical, forward),
                "{raw}"
            );
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for (raw, problem) in [
            (&b""[..], PathProblem::Relative),
            (b"a", PathProblem::Relative),
            (b"/a%", PathProblem::MalformedEscape),
            (b"/a%2", PathProblem::MalformedEscape),
            (b"/a%zz", PathProblem::MalformedEscape),
            (b"/a%+1", PathProblem::MalformedEscape),
            (b"/a%00", PathProblem::ControlByte),
            (b"/a%0d%0a", PathProblem::ControlByte),
            (b"/a\x01", PathProblem::ControlByte),
            (b"/a\\b", PathProblem::Backslash),
            (b"/a/..%2fadmin", PathProblem::EncodedDotSegment),
            (b"/a/x%2F%2e%2E", PathProblem::EncodedDotSegment),
            (b"/a%5c..%5cadmin", PathProblem::EncodedDotSegment),
            (b"/a%2f..;p=1%2fadmin", PathProblem::EncodedDotSegment),
            (b"/a%2f.%3bp/admin", PathProblem::EncodedDotSegment),
            (b"/a b", PathProblem::UnescapedByte),
            (b"/\xc3\xa9", PathProblem::UnescapedByte),
            (b"/p/..;/admin", PathProblem::DotParameter),
            (b"/p/.;a=1/admin", PathProblem::DotParameter),
            (b"/p/%2e.%3Bx/admin", PathProblem::DotParameter),
            (b"/..", PathProblem::AboveRoot),
            (b"/a/../../b", PathProblem::AboveRoot),
            (b"/%2e%2e/b", PathProblem::AboveRoot),
        ] {
            assert_eq!(
                canonical_path(raw).unwrap_err(),
                problem,
                "{}",
                String::from_utf8_lossy(raw)
            );
        }
    }

    #[test]
    fn an_escaped_separator_is_a_part_of_its_segment_and_told() {
        for (raw, canonical, forward, problem) in [
            (
                "/a%2fb",
                "/a%2Fb",
                "/a%2fb",
                Some(PathProblem::EncodedSlash),
            ),
            (
                "/a%5Cb/../c%2Fd",
                "/c%2Fd",
                "/c%2Fd",
                Some(PathProblem::EncodedSlash),
            ),
            ("/a%5cb", "/a%5Cb", "/a%5cb", Some(PathProblem::Backslash)),
            (
                "/a%252fb/..c%2Fd..",
                "/a%252fb/..c%2Fd..",
                "/a%252fb/..c%2Fd..",
                Some(PathProblem::EncodedSlash),
            ),
            (
                "/a%252f..%252fb",
                "/a%252f..%252fb",
                "/a%252f..%252fb",
                None,
            ),
        ] {
            let path = canonical_path(raw.as_bytes()).unwrap();
            assert_eq!(
                (path.canonical(), path.forward()),
                (canonical, forward),
                "{raw}"
            );
            assert_eq!(path.escaped_separator(), problem, "{raw}");
            assert_eq!(path.without_escaped_separator().err(), problem, "{raw}");
        }
    }

    #[test]
    fn a_clean_path_is_not_copied() {
        for raw in [
            "/",
            "/a/b/",
            "/.well-known/acme-challenge/x",
            "/a.b/..c/...",
        ] {
            let (canonical, forward) = canonical_path(raw.as_bytes()).unwrap().into_parts();
            assert!(
                matches!((canonical, forward), (Cow::Borrowed(_), Cow::Borrowed(_))),
                "{raw}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn the_forms_are_stable_and_agree(raw in proptest::collection::vec(proptest::sample::select(&b"/.%2eEaA~5cfF0 \\;"[..]), 0..24)) {
            let raw = [b"/", &raw[..]].concat();
            if let Ok(path) = canonical_path(&raw) {
                let again = canonical_path(path.canonical().as_bytes()).unwrap();
                proptest::prop_assert_eq!(again.canonical(), path.canonical());
                let forwarded = canonical_path(path.forward().as_bytes()).unwrap();
                proptest::prop_assert_eq!(forwarded.canonical(), path.canonical());
                proptest::prop_assert_eq!(forwarded.forward(), path.forward());
            }
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(raw in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = canonical_path(&raw);
        }
    }
}
