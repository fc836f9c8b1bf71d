//! Error pages.

use std::time::Duration;

use http::HeaderValue;

use super::{
    Known, action::refuse_tcp_backend, external::target, policy::resolve, report::Report, text,
};
use crate::{
    document,
    model::{AskedPage, Backend, ErrorPage, ErrorPages, MAX_PAGE_BYTES, PageContent},
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn error_pages(
    path: &str,
    set: &document::ErrorPages,
    backends: &Known<Backend>,
    report: &mut Report<'_>,
) -> ErrorPages {
    if set.pages.is_empty() {
        report.error(format!("{path}.pages"), "a set without pages");
    }
    let mut pages = Vec::new();
    for (index, page) in set.pages.iter().enumerate() {
        let place = format!("{path}.pages[{index}]");
        pages.extend(error_page(&place, page, backends, report));
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
    backends: &Known<Backend>,
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
    let content = match (&page.file, &page.body, &page.backend) {
        (Some(file), None, None) => {
            let place = format!("{path}.file");
            if file.is_empty() {
                report.error(&place, "a file is missing");
            }
            PageContent::File(report.origins().resolve(&place, file))
        }
        (None, Some(body), None) => {
            if body.len() > MAX_PAGE_BYTES {
                let place = format!("{path}.body");
                let reason = format!("a page of {} bytes; 256 KiB is the most", body.len());
                report.error(place, reason);
            }
            PageContent::Inline(body.clone())
        }
        (None, None, Some(backend)) => {
            if page.content_type.is_some() {
                report.error(
                    format!("{path}.contentType"),
                    "a page that a backend gives has the content type of its answer",
                );
            }
            PageContent::Asked(asked(&format!("{path}.backend"), backend, backends, report))
        }
        _ => {
            report.error(path, "exactly one of file, body and backend is expected");
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

fn asked(
    path: &str,
    wanted: &document::ErrorPageBackend,
    backends: &Known<Backend>,
    report: &mut Report<'_>,
) -> AskedPage {
    let place = format!("{path}.name");
    // The problem is noted where the backend is missing; one with an error has its own.
    match resolve(
        &place,
        ("backends", "backend"),
        &wanted.name,
        backends,
        report,
    ) {
        Ok(backend) => refuse_tcp_backend(&place, &backend, report),
        Err(_) => report.give_up(),
    }
    let target_of = wanted.path.clone().unwrap_or_else(|| "/".into());
    report.ok(&format!("{path}.path"), target(&target_of));
    if wanted.timeout.is_some_and(|time| time.0.is_zero()) {
        report.error(format!("{path}.timeout"), "a timeout must be more than 0");
    }
    AskedPage {
        backend: wanted.name.clone(),
        path: target_of,
        timeout: wanted.timeout.map_or(DEFAULT_TIMEOUT, |time| time.0),
    }
}
