//! What a route says to browsers.

use std::{borrow::Cow, time::Duration};

use http::HeaderValue;

use super::OriginPattern;

/// The cross-origin policy of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Who may ask.
    pub origins: Origins,
    /// Methods.
    pub methods: Allowed,
    /// Request headers; `None` allows those that need no permission.
    pub headers: Option<Allowed>,
    /// Response headers that may be read; `None` shows those that need no permission.
    pub expose: Option<Allowed>,
    /// Whether credentials may come along.
    pub credentials: bool,
    /// How long the answer to a preflight may be remembered.
    pub max_age: Duration,
}

/// Origins that may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// One of these; none where it is empty.
    Listed(Vec<OriginPattern>),
}

/// Names that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// All.
    Any,
    /// These, as one field value.
    Listed(HeaderValue),
}

impl Cors {
    /// Whether answers are the same for every origin, so that caches need not
    /// tell them apart.
    pub fn is_for_all(&self) -> bool {
        self.origins == Origins::Any && !self.credentials
    }

    /// The value of `Access-Control-Allow-Origin` for a request with these
    /// `Origin` fields; `None` where a page of that origin may not read the answer.
    ///
    /// With credentials the origin is named, since browsers take no `*` then.
    /// `null` is no origin of its own: any page can make itself one.
    pub fn share_with<'v>(
        &self,
        origin: impl IntoIterator<Item = &'v HeaderValue>,
    ) -> Option<Cow<'v, HeaderValue>> {
        if self.is_for_all() {
            return Some(Cow::Owned(HeaderValue::from_static("*")));
        }
        let mut lines = origin.into_iter();
        let (origin, None) = (lines.next()?, lines.next()) else {
            return None;
        };
        let text = origin.to_str().ok()?;
        let shared = match &self.origins {
            Origins::Any => text != "null",
            Origins::Listed(patterns) => patterns.iter().any(|pattern| pattern.matches(text)),
        };
        shared.then_some(Cow::Borrowed(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(origins: Origins, credentials: bool, lines: &[&str]) -> Option<String> {
        let cors = Cors {
            origins,
            methods: Allowed::Any,
            headers: None,
            expose: None,
            credentials,
            max_age: Duration::ZERO,
        };
        let lines: Vec<HeaderValue> = lines.iter().map(|line| line.parse().unwrap()).collect();
        let value = cors.share_with(&lines)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_named_where_it_matters_who_asks() {
        let app = "https://app.example.com";
        let listed = || Origins::Listed(vec![OriginPattern::parse(app).unwrap()]);
        let star = Some("*".to_owned());
        assert_eq!(shared(Origins::Any, false, &[]), star);
        assert_eq!(shared(Origins::Any, false, &["null"]), star);
        assert_eq!(shared(Origins::Any, true, &[app]), Some(app.into()));
        assert_eq!(shared(Origins::Any, true, &["null"]), None);
        assert_eq!(shared(Origins::Any, true, &[]), None);
        assert_eq!(shared(listed(), false, &[app]), Some(app.into()));
        assert_eq!(shared(listed(), false, &["https://evil.test"]), None);
        assert_eq!(shared(listed(), false, &["null"]), None);
        assert_eq!(shared(listed(), false, &[app, "https://evil.test"]), None);
        assert_eq!(shared(listed(), false, &[app, app]), None);
        assert_eq!(shared(Origins::Listed(Vec::new()), true, &[app]), None);
    }
}
