//! What a dump must not show: a configuration may carry the credentials of a
//! backend, or tell callers apart by theirs, in the values of headers.

use std::sync::Arc;

use crate::document::{Document, HeaderChanges};

/// What stands for a secret.
const MASK: &str = "***";

/// Parts of names whose values are taken for secrets.
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
        .flat_map(|route| &mut Arc::make_mut(route).rules)
    {
        for found in &mut rule.matches {
            for condition in &mut found.headers {
                if is_secret(&condition.name) {
                    mask_values([&mut condition.exact, &mut condition.regex]);
                }
            }
            // A cookie's name tells little of what it is.
            for condition in &mut found.cookies {
                mask_values([&mut condition.exact, &mut condition.regex]);
            }
            for condition in &mut found.query {
                if is_secret(&condition.name) {
                    mask_values([&mut condition.exact, &mut condition.regex]);
                }
            }
        }
        let canary = rule.canary.as_mut();
        if let Some(header) = canary.and_then(|canary| canary.header.as_mut())
            && is_secret(&header.name)
        {
            mask_values([&mut header.exact, &mut header.regex]);
        }
        for changes in [&mut rule.request_headers, &mut rule.response_headers] {
            changes.iter_mut().for_each(mask_changes);
        }
    }
}

fn mask_values(values: [&mut Option<String>; 2]) {
    for value in values.into_iter().flatten() {
        MASK.clone_into(value);
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

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}
