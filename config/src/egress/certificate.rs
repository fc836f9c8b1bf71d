//! Who a client is by its certificate: a SPIFFE ID, or the common name of its subject.

use serde::Serialize;

/// Longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3).
const MAX_ID: usize = 2048;
/// Longest trust domain.
const MAX_TRUST_DOMAIN: usize = 255;
const SCHEME: &str = "spiffe://";

/// What a verified certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CertificateIdentity {
    /// A SPIFFE ID.
    Spiffe(SpiffeId),
    /// The common name of its subject, where it has no SPIFFE ID.
    CommonName(String),
}

impl CertificateIdentity {
    /// Reads who it is from the URIs among its alternative names and the common names of its
    /// subject. `None` where it has neither.
    ///
    /// # Errors
    /// A SPIFFE ID beside another URI (X509-SVID section 2), one that is none, and several common
    /// names: whoever reads another one of them would see somebody else.
    pub fn of(uris: &[&str], common_names: &[&str]) -> Result<Option<Self>, String> {
        if uris.iter().any(|uri| is_spiffe(uri)) {
            let [uri] = uris else {
                return Err("a SPIFFE ID beside other URIs".into());
            };
            return SpiffeId::parse(uri).map(Self::Spiffe).map(Some);
        }
        match common_names {
            [] => Ok(None),
            [name] if name.is_empty() || name.chars().any(char::is_control) => {
                Err(format!("{name:?} is no common name"))
            }
            [name] => Ok(Some(Self::CommonName((*name).to_owned()))),
            _ => Err("several common names".into()),
        }
    }
}

/// A SPIFFE ID in its one form: scheme and trust domain in lower case, and a path that has no
/// other spelling (SPIFFE-ID section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Reads one. The path may be left out: that is the trust domain itself.
    ///
    /// # Errors
    /// Why it is none: user, port, query, escapes, empty and dot segments, a slash at the end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let no = |reason: &str| Err(format!("{text:?} is no SPIFFE ID: {reason}"));
        if text.len() > MAX_ID {
            return Err(format!("a SPIFFE ID has {MAX_ID} bytes at most"));
        }
        if !is_spiffe(text) {
            return no("it begins with spiffe://");
        }
        let rest = &text[SCHEME.len()..];
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let domain = domain.to_ascii_lowercase();
        let is_inner =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !(1..=MAX_TRUST_DOMAIN).contains(&domain.len()) || !domain.bytes().all(is_inner) {
            return no("its trust domain has a-z, 0-9, `.`, `-` and `_`, at most 255 of them");
        }
        let is_segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_inner);
        if !path.split('/').skip(1).all(is_segment) {
            return no(
                "its path has segments of letters, digits, `.`, `-` and `_`, none of them empty, `.` or `..`",
            );
        }
        Ok(Self(format!("{SCHEME}{domain}{path}")))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SPIFFE IDs that a subject names: one, or all below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpiffeIds {
    /// This one.
    One(SpiffeId),
    /// Those below it, by whole segments, and not itself.
    Below(SpiffeId),
}

impl SpiffeIds {
    /// Reads an id, with `/*` at its end for all below.
    ///
    /// # Errors
    /// As [`SpiffeId::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_suffix("/*") {
            Some(above) => SpiffeId::parse(above).map(Self::Below),
            None => SpiffeId::parse(text).map(Self::One),
        }
    }

    /// Whether an id is one of them.
    pub fn contains(&self, id: &SpiffeId) -> bool {
        match self {
            Self::One(one) => one == id,
            Self::Below(above) => {
                let below = id.as_str().strip_prefix(above.as_str());
                below.is_some_and(|below| below.starts_with('/'))
            }
        }
    }
}

fn is_spiffe(uri: &str) -> bool {
    let scheme = uri.as_bytes().get(..SCHEME.len());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form() {
        for (text, expected) in [
            ("spiffe://example.org/ns/ci/sa/builder", None),
            ("spiffe://example.org", None),
            ("spiffe://a_b-c.9/A.b_c-d/..x", None),
            (
                "SPIFFE://Example.ORG/Case",
                Some("spiffe://example.org/Case"),
            ),
        ] {
            let id = SpiffeId::parse(text).unwrap();
            assert_eq!(id.as_str(), expected.unwrap_or(text));
        }
        let long = format!("spiffe://example.org/{}", "a".repeat(MAX_ID));
        let domain = format!("spiffe://{}/a", "a".repeat(256));
        for text in [
            "",
            "spiffe:/example.org",
            "https://example.org/a",
            "spiffe://",
            "spiffe:///a",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/./a",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/a%2Fb",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a b",
            "spiffe://example.org/\u{e9}",
            "spiffe://ex\u{e4}mple.org/a",
            "spiffe://user@example.org/a",
            "spiffe://example.org:8443/a",
            "spiffe://[::1]/a",
            "spiffe://example.org/*",
            &long,
            &domain,
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_certificate_is_somebody_or_nobody_and_never_two() {
        let spiffe = |text: &str| Some(CertificateIdentity::Spiffe(SpiffeId::parse(text).unwrap()));
        let name = |text: &str| Some(CertificateIdentity::CommonName(text.into()));
        let id = "spiffe://example.org/a";
        for (uris, names, expected) in [
            (&[id][..], &["other"][..], Ok(spiffe(id))),
            (&[id], &[], Ok(spiffe(id))),
            (&[], &["builder"], Ok(name("builder"))),
            (&["https://example.org"], &["builder"], Ok(name("builder"))),
            (&[], &[], Ok(None)),
            (&[id, id], &["builder"], Err(())),
            (&[id, "spiffe://example.org/b"], &["builder"], Err(())),
            (&["https://example.org", id], &["builder"], Err(())),
            (&["spiffe://example.org/a/"], &["builder"], Err(())),
            (&["SPIFFE://"], &["builder"], Err(())),
            (&[], &["a", "b"], Err(())),
            (&[], &[""], Err(())),
            (&[], &["a\nb"], Err(())),
        ] {
            let found = CertificateIdentity::of(uris, names).map_err(|_| ());
            assert_eq!(found, expected, "{uris:?} {names:?}");
        }
    }

    #[test]
    fn ids_below_a_path_are_those_of_whole_segments() {
        let below = SpiffeIds::parse("spiffe://example.org/ns/ci/*").unwrap();
        let one = SpiffeIds::parse("spiffe://example.org/ns/ci").unwrap();
        let domain = SpiffeIds::parse("spiffe://example.org/*").unwrap();
        for (id, expected) in [
            ("spiffe://example.org/ns/ci/sa/a", [true, false, true]),
            ("spiffe://example.org/ns/ci", [false, true, true]),
            ("spiffe://example.org/ns/cinema/a", [false, false, true]),
            ("spiffe://example.org/ns/Ci/a", [false, false, true]),
            ("spiffe://example.org", [false, false, false]),
            ("spiffe://example.org.evil/ns/ci/a", [false, false, false]),
        ] {
            let id = SpiffeId::parse(id).unwrap();
            let found = [&below, &one, &domain].map(|ids| ids.contains(&id));
            assert_eq!(found, expected, "{id:?}");
        }
        for text in [
            "*",
            "spiffe://*/a",
            "spiffe://example.org/*/a",
            "spiffe://example.org/a*",
        ] {
            assert!(SpiffeIds::parse(text).is_err(), "{text}");
        }
    }
}
