//! Challenges of ACME servers (HTTP-01, RFC 8555 section 8.3): whoever answers them for a host
//! gets a certificate for it that everybody trusts.
//!
//! So the namespace whose Ingress has the host answers them, and no other: a path of somebody
//! else's host can be had by anyone who may write an Ingress.

use std::collections::{HashMap, hash_map::Entry};

use k8s_openapi::api::networking::v1::HTTPIngressPath;
use portcullis_config::{problem::Category, route::canonical_path};

use super::{
    Translation,
    served::{ANY, Served},
};
use crate::kube::ResourceName;

/// Where they are.
const CHALLENGES: &str = "/.well-known/acme-challenge";

/// Prefixes that take them without being asked for by anything else: that of `/` is often a
/// site's own, and whoever has all of a host's other paths has the host.
const ABOVE: [&str; 2] = ["/.well-known", CHALLENGES];

/// What a path of an Ingress has to do with challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One of them, or all.
    Challenge,
    /// More than them.
    Above,
    Other,
}

/// As it is matched, and not as it is written: `%61` is an `a`.
fn kind_of(path: &HTTPIngressPath) -> Kind {
    let text = path.path.as_deref().unwrap_or("/");
    let Ok(path) = canonical_path(text.as_bytes()) else {
        // It is refused as a path as well.
        return Kind::Other;
    };
    let path = path.canonical();
    let below = path.strip_prefix(CHALLENGES);
    if below.is_some_and(|rest| rest.starts_with('/')) {
        Kind::Challenge
    } else if ABOVE.contains(&path.trim_end_matches('/')) {
        Kind::Above
    } else {
        Kind::Other
    }
}

/// Whether an Ingress answers challenges with a path: these come from anybody, in clear, before
/// there is a certificate.
pub(super) fn is_answered(served: &Served<'_>, path: &HTTPIngressPath) -> bool {
    served.is_solver() && kind_of(path) == Kind::Challenge
}

/// The Ingress that each host has first.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<String, ResourceName>);

impl Owners {
    /// Notes that an Ingress has a rule for a host, unless an older one has.
    pub(super) fn note(&mut self, host: &str, ingress: &ResourceName) {
        if let Entry::Vacant(free) = self.0.entry(host.to_owned()) {
            free.insert(ingress.clone());
        }
    }
}

impl<'o> Translation<'o> {
    /// Whether a path of a host may be served as far as challenges are concerned; it is told
    /// where not.
    pub(super) fn may_answer(
        &mut self,
        served: &Served<'o>,
        (host, owners): (&str, &Owners),
        (field, path): (&str, &HTTPIngressPath),
    ) -> bool {
        let Some(owner) = owners.0.get(host) else {
            return true;
        };
        let namespace = &served.name.namespace;
        let may = owner.namespace == *namespace
            || self.options.challenge_namespaces.contains(namespace)
            || kind_of(path) == Kind::Other;
        if !may {
            let shown = match host {
                ANY => "*",
                host => host,
            };
            let reason = format!(
                "challenges of {shown} are answered in the namespace of Ingress {owner}, which is older"
            );
            let hint =
                format!("--acme-challenge-namespace {namespace} lets this one answer for any host");
            let problem = served.warning(field, reason).with_hint(Some(hint));
            self.tell(problem.with_category(Category::Conflict));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_it_is_matched_as() {
        for (path, kind) in [
            ("/.well-known/acme-challenge/token", Kind::Challenge),
            ("/.well-known/acme-challenge/", Kind::Challenge),
            ("/.well-known/%61cme-challenge/token", Kind::Challenge),
            ("/x/../.well-known/acme-challenge/token", Kind::Challenge),
            ("/.well-known/acme-challenge/%2e%2e/admin", Kind::Other),
            ("/.well-known/acme-challenge", Kind::Above),
            ("/.well-known", Kind::Above),
            ("/.well-known/", Kind::Above),
            ("/.well-known/security.txt", Kind::Other),
            ("/.well-known/acme-challenges/token", Kind::Other),
            ("/", Kind::Other),
            ("", Kind::Other),
        ] {
            let path = HTTPIngressPath {
                path: Some(path.to_owned()),
                ..HTTPIngressPath::default()
            };
            assert_eq!(kind_of(&path), kind, "{path:?}");
        }
    }
}
