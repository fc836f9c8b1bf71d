//! What an entry asks for whose requests are looked into.

use std::{path::PathBuf, sync::Arc};

use http::HeaderName;

use super::{EgressPolicy, EgressRule, Refused, policies::leniency};
pub use crate::document::ClientCredential;
use crate::document::EgressMode;

/// What becomes of the requests that an entry allows, inside TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The WAF profile that they are inspected by.
    pub waf: Option<String>,
    /// The credential that they are given.
    pub inject: Option<Injection>,
}

/// What an entry asks for, and who says what becomes of what is found: its own policy, whichever
/// other allows the request as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it asks for.
    pub inspection: Arc<Inspection>,
    /// Its policy.
    pub policy: Arc<str>,
    /// Its text.
    pub rule: Arc<str>,
    /// The mode of its policy here.
    pub mode: EgressMode,
}

impl Wanted {
    /// What an entry of a policy asks for, if it asks for something.
    pub(super) fn of(
        (policy, mode): (&EgressPolicy, EgressMode),
        rule: &EgressRule,
    ) -> Option<Self> {
        Some(Self {
            inspection: Arc::clone(rule.inspection.as_ref()?),
            policy: Arc::clone(&policy.name),
            rule: Arc::clone(&rule.text),
            mode,
        })
    }

    /// A part of what several ask for, each once, with the strictest of those that ask for it. They
    /// stay in their order.
    pub fn each<'w, T: PartialEq>(
        all: &'w [Self],
        part: impl Fn(&'w Inspection) -> Option<&'w T>,
    ) -> Vec<(&'w T, &'w Self)> {
        let mut found: Vec<(&T, &Self)> = Vec::new();
        for wanted in all {
            let Some(asked) = part(&wanted.inspection) else {
                continue;
            };
            match found.iter_mut().find(|(known, _)| *known == asked) {
                None => found.push((asked, wanted)),
                Some((_, known)) if leniency(wanted.mode) < leniency(known.mode) => *known = wanted,
                Some(_) => {}
            }
        }
        found
    }

    /// The refusal of a request that it does not bear, though its entry allows it.
    pub fn objection(&self, reason: &'static str) -> Refused {
        Refused {
            reason,
            policy: Some(Arc::clone(&self.policy)),
            rule: Some(Arc::clone(&self.rule)),
            mode: self.mode,
            always: false,
        }
    }
}

/// A credential that is added to requests, by where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// The header that carries it.
    pub header: HeaderName,
    /// File with the credential.
    pub value: PathBuf,
    /// What stands before it in the header.
    pub prefix: String,
    /// What is done with a credential of the client's own in that header.
    pub client_credential: ClientCredential,
}

impl HttpRequest<'_> {
    /// The methods that an origin may take it to have.
    pub(super) fn methods(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.method).chain(self.overriding)
    }
}

/// A request that can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRequest<'a> {
    /// Method.
    pub method: &'a str,
    /// The method that a field such as `X-HTTP-Method-Override` asks for, which some origins take
    /// for the method.
    pub overriding: Option<&'a str>,
    /// Canonical path.
    pub path: &'a str,
    /// Whether it goes to the destination inside TLS: it came so and was looked into, or an entry
    /// asks for that ([`Selected::originated`](super::Selected::originated)).
    pub tls: bool,
}
