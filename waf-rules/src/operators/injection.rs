//! `@detectSQLi`, `@detectXSS`.

use super::Captures;
use crate::inject;

/// Finds an injection of SQL. What is captured is its fingerprint.
pub(super) fn sql(value: &[u8], capture: bool) -> Option<Captures> {
    let found = inject::sql_fingerprint(value)?;
    Some(match capture {
        true => vec![found.as_bytes().to_vec()],
        false => Captures::new(),
    })
}
