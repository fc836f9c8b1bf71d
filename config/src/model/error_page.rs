//! Error pages.

use std::{ops::RangeInclusive, path::PathBuf};

use http::HeaderValue;

/// A set of error pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPages {
    /// Unique name.
    pub name: String,
    /// The pages, in the order in which they are looked at.
    pub pages: Vec<ErrorPage>,
    /// Whether answers of backends are replaced too.
    pub intercept: bool,
}

/// The page for some statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// The page.
    pub content: PageContent,
    /// Its content type.
    pub content_type: HeaderValue,
}

/// Where a page comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageContent {
    /// A file.
    File(PathBuf),
    /// The configuration.
    Inline(String),
}
