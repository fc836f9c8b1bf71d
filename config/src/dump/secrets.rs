//! What a dump must not show: a configuration may carry the credentials of a
//! backend, or tell callers apart by theirs, in the values of headers.

use crate::document::{Document, HeaderChanges, HeaderMatch};

/// What stands for a secret.
const MASK: &str = "***";

/// Parts of header names whose values are taken for secrets.
const SECRET: [&str; 14] = [
    "auth",
    "cookie",
    "credential",
    "hmac",
    "jwt",
    "key",
    "pass",
    "pwd",
    "secret",
    "session",
    "sign",
    "token",
    "trust",
    "verify",
];

/// Replaces the values of headers that carry secrets.
pub(super) fn mask(document: &mut Document) {
    for rule in document
        .routes
        .iter_mut()
        .flat_map(|route| &mut route.rules)
    {
        for condition in rule.matches.iter_mut().flat_map(|found| &mut found.headers) {
            mask_condition(condition);
        }
        for changes in [&mut rule.request_headers, &mut rule.response_headers] {
            changes.iter_mut().for_each(mask_changes);
        }
    }
}

fn mask_condition(condition: &mut HeaderMatch) {
    if is_secret(&condition.name) {
        for value in [&mut condition.exact, &mut condition.regex] {
            value.iter_mut().for_each(|value| MASK.clone_into(value));
        }
    }
}

fn mask_changes(changes: &mut HeaderChanges) {
    for values in [&mut changes.set, &mut changes.add] {
        for (name, value) in values {
            if is_secret(name) {
                MASK.clone_into(value);
            }
        }
    }
}

fn is_secret(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    SECRET.iter().any(|part| header.contains(part))
}
