//! Error pages.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use http::HeaderValue;

/// Largest page, in bytes.
pub const MAX_PAGE_BYTES: usize = 256 << 10;

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
    /// Its content type; one that a backend gives has that of its answer.
    pub content_type: HeaderValue,
}

/// Where a page comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageContent {
    /// A file.
    File(PathBuf),
    /// The configuration.
    Inline(String),
    /// A backend.
    Asked(AskedPage),
}

/// A page that a backend is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPage {
    /// Name of the backend.
    pub backend: String,
    /// Target in origin form.
    pub path: String,
    /// Time for the page.
    pub timeout: Duration,
}
