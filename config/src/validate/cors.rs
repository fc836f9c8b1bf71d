//! Cross-origin policies.

use std::time::Duration;

use http::HeaderValue;

use super::{
    policy::{Broken, Control},
    report::Report,
    text,
};
use crate::{
    cors::{Allowed, Cors, OriginPattern, Origins},
    document,
};

const DEFAULT_METHODS: &str = "GET, HEAD, POST";
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);

/// The policy that stands in one place; `None` lifts an inherited one.
pub(super) fn cors(
    path: &str,
    wanted: &document::Cors,
    report: &mut Report<'_>,
) -> Control<Option<Cors>> {
    if *wanted == document::Cors::default() {
        return Ok(None);
    }
    let Some(origins) = &wanted.allow_origins else {
        report.error_hint(
            path,
            "a CORS policy without origins",
            "name them with `allowOrigins:`; `{}` lifts an inherited policy",
        );
        return Err(Broken);
    };
    let credentials = wanted.allow_credentials.unwrap_or(false);
    let (cors, clean) = report.counted(|report| Cors {
        origins: self::origins(&format!("{path}.allowOrigins"), origins, report),
        methods: allowed(
            &format!("{path}.allowMethods"),
            wanted.allow_methods.as_deref(),
            |method| text::method(method).map(|_| ()),
            report,
        )
        .unwrap_or(Allowed::Listed(HeaderValue::from_static(DEFAULT_METHODS))),
        headers: allowed(
            &format!("{path}.allowHeaders"),
            wanted.allow_headers.as_deref(),
            |name| text::header_name(name).map(|_| ()),
            report,
        ),
        expose: allowed(
            &format!("{path}.exposeHeaders"),
            wanted.expose_headers.as_deref(),
            |name| text::header_name(name).map(|_| ()),
            report,
        ),
        credentials,
        max_age: wanted.max_age.map_or(DEFAULT_MAX_AGE, |age| age.0),
    });
    if credentials && cors.origins == Origins::Any {
        report.warn(
            format!("{path}.allowOrigins"),
            "`*` with credentials: any page that a user opens can act as that user here, and read the answers",
        );
    }
    if credentials && cors.expose == Some(Allowed::Any) {
        report.warn(
            format!("{path}.exposeHeaders"),
            "with credentials browsers take `*` for a header of that name: nothing is exposed; name the headers",
        );
    }
    clean.then_some(Some(cors)).ok_or(Broken)
}

fn origins(path: &str, wanted: &[String], report: &mut Report<'_>) -> Origins {
    if wanted.iter().any(|origin| origin == "*") {
        if wanted.len() > 1 {
            report.warn(path, "`*` is every origin; those beside it add nothing");
        }
        return Origins::Any;
    }
    if wanted.is_empty() {
        report.warn(path, "an empty list allows no origin");
    }
    let mut patterns = Vec::new();
    for (index, origin) in wanted.iter().enumerate() {
        let place = format!("{path}[{index}]");
        let Some(pattern) = report.ok(&place, OriginPattern::parse(origin)) else {
            continue;
        };
        if let Some(suffix) = pattern.suffix()
            && crate::public_suffix::is_public(suffix)
        {
            let reason = format!(
                "{origin:?} is everything below a public suffix: anybody can have such a name"
            );
            report.warn(&place, reason);
        }
        patterns.push(pattern);
    }
    Origins::Listed(patterns)
}

/// Names as one field value; `None` where there are none.
fn allowed(
    path: &str,
    wanted: Option<&[String]>,
    judge: impl Fn(&str) -> Result<(), String>,
    report: &mut Report<'_>,
) -> Option<Allowed> {
    let wanted = wanted?;
    if wanted.iter().any(|name| name == "*") {
        if wanted.len() > 1 {
            report.warn(path, "`*` is every name; those beside it add nothing");
        }
        return Some(Allowed::Any);
    }
    for (index, name) in wanted.iter().enumerate() {
        report.ok(&format!("{path}[{index}]"), judge(name));
    }
    let joined = wanted.join(", ");
    // A name that is none was told above.
    let value = HeaderValue::from_str(&joined).ok();
    value.filter(|_| !joined.is_empty()).map(Allowed::Listed)
}
