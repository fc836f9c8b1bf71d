//! Error pages, read and ready to be filled in.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use portcullis_config::model::{AskedPage, ErrorPage, ErrorPages, MAX_PAGE_BYTES, PageContent};

use super::{CompiledBackend, Reads};
use crate::telemetry::Seldom;

/// A set of error pages.
#[derive(Debug)]
pub struct CompiledErrorPages {
    /// Whether answers of backends are replaced too.
    pub intercept: bool,
    pages: Vec<Arc<CompiledErrorPage>>,
}

/// The page for some statuses.
#[derive(Debug)]
pub struct CompiledErrorPage {
    /// Where it comes from.
    pub(crate) source: PageSource,
    statuses: Vec<RangeInclusive<u16>>,
}

/// Where a page comes from.
#[derive(Debug)]
pub(crate) enum PageSource {
    /// It is at hand.
    Text(PageText),
    /// A backend is asked.
    Asked(AskedBackend),
}

/// A page that is at hand.
#[derive(Debug)]
pub(crate) struct PageText {
    /// Its content type.
    pub(crate) content_type: HeaderValue,
    parts: Vec<Part>,
}

/// A backend that is asked for a page.
#[derive(Debug)]
pub(crate) struct AskedBackend {
    pub(crate) settings: AskedPage,
    pub(crate) backend: Arc<CompiledBackend>,
    /// Lets one failure in a while through to the log.
    pub(crate) failures: Seldom,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Status,
    Error,
    RequestId,
}

impl CompiledErrorPages {
    /// Reads the pages of a set.
    ///
    /// # Errors
    /// Each page that cannot be read, by its position.
    pub(super) fn compile(
        set: &ErrorPages,
        backends: &HashMap<String, Arc<CompiledBackend>>,
        reads: &Reads,
    ) -> Result<Self, Vec<(usize, String)>> {
        let mut pages = Vec::new();
        let mut errors = Vec::new();
        for (index, page) in set.pages.iter().enumerate() {
            match CompiledErrorPage::compile(page, backends, reads) {
                Ok(page) => pages.push(Arc::new(page)),
                Err(reason) => errors.push((index, reason)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            intercept: set.intercept,
            pages,
        })
    }

    /// Finds the pages for a status that a client with these headers accepts. Of what a
    /// backend gives the type is not known before: it is asked, and may be told no.
    pub fn find<'a>(
        &'a self,
        status: u16,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = &'a Arc<CompiledErrorPage>> {
        self.pages.iter().filter(move |page| {
            page.statuses.iter().any(|range| range.contains(&status))
                && match &page.source {
                    PageSource::Text(text) => is_accepted(&text.content_type, headers),
                    PageSource::Asked(_) => true,
                }
        })
    }
}

impl CompiledErrorPage {
    fn compile(
        page: &ErrorPage,
        backends: &HashMap<String, Arc<CompiledBackend>>,
        reads: &Reads,
    ) -> Result<Self, String> {
        let text = match &page.content {
            PageContent::Inline(text) => text.clone(),
            PageContent::File(path) => {
                let text = reads.read_text(path)?;
                if text.len() > MAX_PAGE_BYTES {
                    return Err(format!("{}: larger than 256 KiB", path.display()));
                }
                text
            }
            PageContent::Asked(asked) => {
                let missing = || format!("there is no backend {:?}", asked.backend);
                let backend = backends.get(&asked.backend).ok_or_else(missing)?;
                return Ok(Self {
                    source: PageSource::Asked(AskedBackend {
                        settings: asked.clone(),
                        backend: Arc::clone(backend),
                        failures: Seldom::default(),
                    }),
                    statuses: page.statuses.clone(),
                });
            }
        };
        Ok(Self {
            source: PageSource::Text(PageText {
                content_type: page.content_type.clone(),
                parts: parts_of(&text),
            }),
            statuses: page.statuses.clone(),
        })
    }
}

impl PageText {
    /// The page for one answer.
    pub(crate) fn fill(&self, status: u16, error: &str, request_id: &str) -> Bytes {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Status => out.push_str(itoa::Buffer::new().format(status)),
                Part::Error => out.push_str(error),
                // Letters, digits and a few marks: nothing that HTML or JSON reads otherwise.
                Part::RequestId => out.push_str(request_id),
            }
        }
        out.into()
    }
}

/// Splits a page at its places; what else looks like one is text, as scripts have it.
fn parts_of(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut from = 0;
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        let places = [
            ("${status}", Part::Status),
            ("${error}", Part::Error),
            ("${requestId}", Part::RequestId),
        ];
        let place = places
            .into_iter()
            .find(|(place, _)| text[at..].starts_with(place));
        from = at + 2;
        if let Some((place, part)) = place {
            parts.push(Part::Text(text[start..at].to_owned()));
            parts.push(part);
            start = at + place.len();
            from = start;
        }
    }
    parts.push(Part::Text(text[start..].to_owned()));
    parts
}

/// Whether a client takes this type (RFC 9110 section 12.5.1): by the most specific of
/// the ranges that it names, or where it names none at all.
pub(crate) fn is_accepted(content_type: &HeaderValue, headers: &HeaderMap) -> bool {
    let content_type = String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let kind = essence.split('/').next().unwrap_or_default();
    let mut best = None;
    let mut named = false;
    for line in headers.get_all(header::ACCEPT) {
        let line = String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase();
        for range in line.split(',') {
            let mut words = range.split(';').map(str::trim);
            let wanted = words.next().unwrap_or_default();
            named |= !wanted.is_empty();
            let exactness = match wanted.split_once('/') {
                _ if wanted == essence => 3,
                Some((wanted, "*")) if wanted == kind => 2,
                Some(("*", "*")) => 1,
                _ => continue,
            };
            // Weights are from 0 to 1: only one of 0 says no.
            let refused = words
                .filter_map(|word| word.strip_prefix("q="))
                .any(|weight| weight.bytes().all(|byte| matches!(byte, b'0' | b'.')));
            if best.is_none_or(|(known, _)| exactness > known) {
                best = Some((exactness, !refused));
            }
        }
    }
    best.map_or(!named, |(_, accepted)| accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_and_nothing_else() {
        let page = PageText {
            content_type: HeaderValue::from_static("text/html"),
            parts: parts_of("<b>${status}</b> ${error}: ${requestId} `${x}` ${ $"),
        };
        assert_eq!(
            page.fill(404, "Not Found", "a1"),
            "<b>404</b> Not Found: a1 `${x}` ${ $"
        );
        assert_eq!(parts_of(""), [Part::Text(String::new())]);
    }

    #[test]
    fn a_client_takes_what_its_most_specific_range_says() {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let cases = [
            (&[][..], true),
            (&["*/*"], true),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], true),
            (&["application/json"], false),
            (&["application/json", "TEXT/*;q=0.1"], true),
            (&["text/html;q=0, */*"], false),
            (&["*/*;q=0, text/html"], true),
            (&["text/html;level=1;q=0.0"], false),
            (&[""], true),
            (&["nonsense"], false),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT, HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(is_accepted(&html, &headers), expected, "{lines:?}");
        }
    }
}
