//! Media types.

use std::fmt;

use http::{HeaderMap, header};

/// Types that are compressed where the policy names none.
pub const DEFAULT_TYPES: [&str; 25] = [
    "text/html",
    "text/css",
    "text/plain",
    "text/javascript",
    "text/xml",
    "text/csv",
    "text/markdown",
    "application/javascript",
    "application/x-javascript",
    "application/json",
    "application/ld+json",
    "application/geo+json",
    "application/problem+json",
    "application/manifest+json",
    "application/graphql-response+json",
    "application/x-ndjson",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "image/svg+xml",
    "font/ttf",
    "font/otf",
];

/// A media type, or all of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    kind: String,
    /// `None` for `*`.
    subtype: Option<String>,
}

impl MediaRange {
    /// Parses `text/html` or `text/*`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |reason: &str| Err(format!("{text:?} is not a media type: {reason}"));
        if text.contains([';', ',', ' ']) {
            return bad("write each alone and without parameters, as text/html");
        }
        let Some((kind, subtype)) = text.split_once('/') else {
            return bad("write it as text/html or text/*");
        };
        let token = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        };
        if kind == "*" {
            return bad("images and archives are compressed already; name the kinds, as text/*");
        }
        if !token(kind) || subtype != "*" && !token(subtype) {
            return bad("a character that no type has");
        }
        Ok(Self {
            kind: kind.to_ascii_lowercase(),
            subtype: (subtype != "*").then(|| subtype.to_ascii_lowercase()),
        })
    }

    /// Whether a type is one of these.
    pub(super) fn contains(&self, essence: &str) -> bool {
        essence.split_once('/').is_some_and(|(kind, subtype)| {
            kind.eq_ignore_ascii_case(&self.kind)
                && self
                    .subtype
                    .as_deref()
                    .is_none_or(|wanted| subtype.eq_ignore_ascii_case(wanted))
        })
    }
}

/// The type of a message, without its parameters.
pub(super) fn essence(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

/// Whether a type is that of files which are the same for everybody: no secret of
/// one user is in them.
pub(super) fn is_static(essence: &str) -> bool {
    const STATIC: [&str; 9] = [
        "text/css",
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "application/wasm",
        "application/vnd.ms-fontobject",
        "image/svg+xml",
        "image/x-icon",
        "image/vnd.microsoft.icon",
    ];
    let font = essence
        .get(..5)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("font/"));
    font || STATIC
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// As it is written in a document.
impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subtype = self.subtype.as_deref().unwrap_or("*");
        write!(f, "{}/{subtype}", self.kind)
    }
}
