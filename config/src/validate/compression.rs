//! Compression policies.

use super::report::Report;
use crate::{
    compression::{Compression, DEFAULT_TYPES, MediaRange},
    document,
};

const DEFAULT_MIN_SIZE: u64 = 1 << 10;

/// The policy that stands in one place; `None` lifts an inherited one.
pub(super) fn compression(
    path: &str,
    wanted: &document::Compression,
    report: &mut Report<'_>,
) -> Option<Compression> {
    let Some(algorithms) = &wanted.algorithms else {
        if *wanted != document::Compression::default() {
            report.error_hint(
                path,
                "a compression policy without algorithms",
                "name them with `algorithms: [zstd, br, gzip]`; `{}` lifts an inherited policy",
            );
        }
        return None;
    };
    for (index, algorithm) in algorithms.iter().enumerate() {
        if algorithms[..index].contains(algorithm) {
            let place = format!("{path}.algorithms[{index}]");
            report.error(place, "the algorithm stands twice");
        }
    }
    let types = match &wanted.types {
        None => ranges(path, DEFAULT_TYPES, report),
        Some(types) => ranges(path, types.iter().map(String::as_str), report),
    };
    if wanted.types.as_ref().is_some_and(Vec::is_empty) {
        report.error_hint(
            format!("{path}.types"),
            "without types nothing is compressed",
            "leave `types` out for those of text; `compression: {}` turns it off",
        );
    }
    (!algorithms.is_empty()).then(|| Compression {
        algorithms: algorithms.clone(),
        types,
        min_size: wanted.min_size.map_or(DEFAULT_MIN_SIZE, |size| size.0),
        level: wanted.level.unwrap_or_default(),
        credentials: wanted.credentials.unwrap_or_default(),
    })
}

fn ranges<'t>(
    path: &str,
    types: impl IntoIterator<Item = &'t str>,
    report: &mut Report<'_>,
) -> Vec<MediaRange> {
    let mut ranges = Vec::new();
    for (index, text) in types.into_iter().enumerate() {
        let place = format!("{path}.types[{index}]");
        ranges.extend(report.ok(&place, MediaRange::parse(text)));
    }
    ranges
}
