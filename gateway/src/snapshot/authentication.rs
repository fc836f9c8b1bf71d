//! The authentications of a snapshot.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, header};
use portcullis_config::model::{Authentication, AuthenticationMethod, Model, Rule};

use super::{Live, Reads, reads::content_hash};
use crate::identity::Authenticator;

/// Authentications by name.
pub(super) type Authenticators = HashMap<String, Arc<Authenticator>>;

/// Puts one to work; the running one stays where nothing changed.
///
/// # Errors
/// Everything that is wrong with its file.
pub(super) fn authenticator(
    settings: &Arc<Authentication>,
    live: &Live,
    reads: &Reads,
) -> Result<Arc<Authenticator>, Vec<String>> {
    let AuthenticationMethod::Basic(basic) = &settings.method;
    let text = reads.read_text(&basic.users).map_err(|error| vec![error])?;
    let file = content_hash(text.as_bytes());
    if let Some(running) = live.authenticator(settings, Some(file)) {
        return Ok(running);
    }
    let made = Authenticator::basic(Arc::clone(settings), file, &text, &live.password_checks);
    made.map(Arc::new).map_err(|wrong| {
        let file = basic.users.display();
        wrong.iter().map(|line| format!("{file}: {line}")).collect()
    })
}

/// The headers that a rule takes from no client.
///
/// What one route tells its backend of a client, another must not let through: both
/// may lead to the same backend. Credentials are no such word, and stay on rules
/// that have no say over them.
pub(super) fn identity_headers(model: &Model, rule: &Rule) -> Vec<HeaderName> {
    let everywhere = model
        .authentications
        .iter()
        .flat_map(|authentication| authentication.identity_headers())
        .filter(|name| **name != header::AUTHORIZATION);
    let here = rule.policies.authentication.iter();
    let mut names: Vec<HeaderName> = everywhere
        .chain(here.clone().flat_map(|own| own.identity_headers()))
        .cloned()
        .collect();
    if here.into_iter().any(|own| !own.forwards_credentials()) {
        names.push(header::AUTHORIZATION);
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}
