//! The authentications of a snapshot.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, header};
use portcullis_config::model::{Authentication, AuthenticationMethod, Basic, Model, Rule};

use super::{CompiledBackend, Live, Reads, reads::content_hash};
use crate::identity::Authenticator;

/// An authentication of a rule.
#[derive(Clone, Debug)]
pub struct CompiledAuthentication {
    /// It, with what it remembers.
    pub authenticator: Arc<Authenticator>,
    /// The backend that is asked; `None` for one that asks nobody.
    pub backend: Option<Arc<CompiledBackend>>,
}

/// Authentications by name.
pub(super) type Authentications = HashMap<String, CompiledAuthentication>;

/// Puts one to work; the running one stays where nothing changed.
///
/// # Errors
/// Everything that is wrong with it, with the key that it is about.
pub(super) fn authentication(
    settings: &Arc<Authentication>,
    backends: &HashMap<String, Arc<CompiledBackend>>,
    live: &Live,
    reads: &Reads,
) -> Result<CompiledAuthentication, (&'static str, Vec<String>)> {
    let (authenticator, backend) = match &settings.method {
        AuthenticationMethod::Basic(basic) => {
            let made = by_file(settings, basic, live, reads);
            (made.map_err(|reasons| (".basic.users", reasons))?, None)
        }
        AuthenticationMethod::External(external) => {
            let missing = |reason: String| (".external", vec![reason]);
            let backend = backends
                .get(&external.backend)
                .ok_or_else(|| missing(format!("there is no backend {:?}", external.backend)))?;
            let made = match live.authenticator(settings, None) {
                Some(running) => running,
                None => Arc::new(Authenticator::external(settings, external).map_err(missing)?),
            };
            (made, Some(Arc::clone(backend)))
        }
    };
    Ok(CompiledAuthentication {
        authenticator,
        backend,
    })
}

fn by_file(
    settings: &Arc<Authentication>,
    basic: &Basic,
    live: &Live,
    reads: &Reads,
) -> Result<Arc<Authenticator>, Vec<String>> {
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
