//! Error pages.

use http::HeaderValue;

use super::{report::Report, text};
use crate::{
    document,
    model::{ErrorPage, ErrorPages, PageContent},
};

/// Largest page.
const MAX_PAGE_BYTES: usize = 256 << 10;

pub(super) fn error_pages(
    path: &str,
    set: &document::ErrorPages,
    report: &mut Report<'_>,
) -> ErrorPages {
    if set.pages.is_empty() {
        report.error(format!("{path}.pages"), "a set without pages");
    }
    let mut pages = Vec::new();
    for (index, page) in set.pages.iter().enumerate() {
        pages.extend(error_page(&format!("{path}.pages[{index}]"), page, report));
    }
    ErrorPages {
        name: set.name.clone(),
        pages,
        intercept: set.intercept,
    }
}

fn error_page(
    path: &str,
    page: &document::ErrorPage,
    report: &mut Report<'_>,
) -> Option<ErrorPage> {
    if page.statuses.is_empty() {
        report.error(format!("{path}.statuses"), "a page without statuses");
    }
    for (index, range) in page.statuses.iter().enumerate() {
        if range.first < 400 || range.last > 599 {
            report.error(
                format!("{path}.statuses[{index}]"),
                format!("{range} is not from 400 to 599: only errors have pages"),
            );
        }
    }
    let content_type = match &page.content_type {
        None => HeaderValue::from_static("text/html; charset=utf-8"),
        Some(wanted) => {
            let place = format!("{path}.contentType");
            if !wanted.contains('/') {
                report.error(&place, format!("{wanted:?} is no type, as text/html is"));
            }
            report.ok(&place, text::header_value(wanted))?
        }
    };
    let content = match (&page.file, &page.body) {
        (Some(file), None) => {
            let place = format!("{path}.file");
            if file.is_empty() {
                report.error(&place, "a file is missing");
            }
            PageContent::File(report.origins().resolve(&place, file))
        }
        (None, Some(body)) => {
            if body.len() > MAX_PAGE_BYTES {
                let place = format!("{path}.body");
                let reason = format!("a page of {} bytes; 256 KiB is the most", body.len());
                report.error(place, reason);
            }
            PageContent::Inline(body.clone())
        }
        _ => {
            report.error(path, "exactly one of file and body is expected");
            return None;
        }
    };
    Some(ErrorPage {
        statuses: page
            .statuses
            .iter()
            .map(|range| range.first..=range.last)
            .collect(),
        content,
        content_type,
    })
}
