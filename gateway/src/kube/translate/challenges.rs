//! Challenges of ACME servers (HTTP-01, RFC 8555 section 8.3): whoever answers them for a host
//! gets a certificate for it that everybody trusts.
//!
//! So the namespace whose Ingress has the host answers them, and no other: a path of somebody
//! else's host can be had by anyone who may write an Ingress, and `/` can where the owner has
//! only other paths.

use std::collections::{HashMap, hash_map::Entry};

use k8s_openapi::api::networking::v1::HTTPIngressPath;
use portcullis_config::{
    document::{Match, PathMatch, Respond, Rule},
    problem::Category,
    route::canonical_path,
};

use super::{
    Translation,
    claims::{Claims, PathKey},
    served::{ANY, Served},
};
use crate::kube::ResourceName;

/// Where they are.
const CHALLENGES: &str = "/.well-known/acme-challenge";

/// Prefixes that take them without being asked for by anything else, unlike `/`, which is often a
/// site's own.
const ABOVE: [&str; 2] = ["/.well-known", CHALLENGES];

/// What a path of an Ingress has to do with challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One of them, or more than them.
    Challenge,
    /// Everything, and them among it.
    Everything,
    Other,
}

/// As it would be matched, and not as it is written: `%61` is an `a`. `/` is everything in one
/// spelling alone, since others are refused: what they took would be kept from its owner.
fn kind_of(path: &HTTPIngressPath) -> Kind {
    let text = path.path.as_deref().unwrap_or("/");
    if text == "/" && path.path_type != "Exact" {
        return Kind::Everything;
    }
    let Ok(canonical) = canonical_path(text.as_bytes()) else {
        // It is refused as a path as well.
        return Kind::Other;
    };
    let canonical = canonical.canonical();
    let below = canonical.strip_prefix(CHALLENGES);
    let is_below = below.is_some_and(|rest| rest.starts_with('/'));
    match is_below || ABOVE.contains(&canonical.trim_end_matches('/')) {
        true => Kind::Challenge,
        false => Kind::Other,
    }
}

/// Whether an Ingress answers one challenge with a path, as cert-manager writes it: that path
/// alone comes from anybody, in clear, before there is a certificate. The mark of a solver, which
/// anybody may write, opens nothing else.
pub(super) fn is_answered(served: &Served<'_>, path: &HTTPIngressPath) -> bool {
    // cert-manager up to 1.17 writes `ImplementationSpecific`, and `Exact` after that.
    served.is_solver() && path.path_type != "Prefix" && is_token(path)
}

/// Whether a path is that of a token (RFC 8555 section 8.3: of the base64url alphabet).
fn is_token(path: &HTTPIngressPath) -> bool {
    let below = path.path.as_deref().unwrap_or_default();
    let token = below
        .strip_prefix(CHALLENGES)
        .and_then(|rest| rest.strip_prefix('/'));
    token.is_some_and(|token| {
        let mut bytes = token.bytes();
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !token.is_empty() && bytes.all(is_known)
    })
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
        let owner = self.owner_before(served, host, owners);
        let Some(owner) = owner.filter(|_| kind_of(path) == Kind::Challenge) else {
            return true;
        };
        self.tell_of_owner(served, (host, owner), field, "");
        false
    }

    /// The rule that keeps challenges from a path which takes everything of a host, where they
    /// are not for its namespace.
    pub(super) fn closed_to(
        &mut self,
        served: &Served<'o>,
        (host, claims): (&str, &Claims),
        (field, path): (&str, &HTTPIngressPath),
    ) -> Option<Rule> {
        let takes_them = kind_of(path) == Kind::Everything;
        takes_them.then(|| self.rest_closed_to(served, (host, claims), field))?
    }

    /// The same, for whoever has what no path of a host takes.
    pub(super) fn rest_closed_to(
        &mut self,
        served: &Served<'o>,
        (host, claims): (&str, &Claims),
        field: &str,
    ) -> Option<Rule> {
        let owner = self.owner_before(served, host, &claims.owners)?;
        // Nobody has one of these who may not answer. It is longer, and so it goes first.
        let is_covered = ABOVE.into_iter().any(|prefix| {
            let prefix = PathKey::Prefix(prefix.to_owned());
            claims.has(host, prefix)
        });
        if is_covered {
            return None;
        }
        let what = format!(": below {CHALLENGES} this one answers 404");
        self.tell_of_owner(served, (host, owner), field, &what);
        Some(Rule {
            matches: vec![Match {
                path: Some(PathMatch::Prefix(CHALLENGES.to_owned())),
                ..Match::default()
            }],
            ..not_found()
        })
    }

    /// The Ingress that has a host, where an Ingress may not answer challenges of it.
    fn owner_before<'w>(
        &self,
        served: &Served<'o>,
        host: &str,
        owners: &'w Owners,
    ) -> Option<&'w ResourceName> {
        let namespace = &served.name.namespace;
        let owner = owners.0.get(host)?;
        let may =
            owner.namespace == *namespace || self.options.challenge_namespaces.contains(namespace);
        (!may).then_some(owner)
    }

    fn tell_of_owner(
        &mut self,
        served: &Served<'o>,
        (host, owner): (&str, &ResourceName),
        field: &str,
        what: &str,
    ) {
        let namespace = &served.name.namespace;
        let shown = match host {
            ANY => "*",
            host => host,
        };
        let reason = format!(
            "challenges of {shown} are answered in the namespace of Ingress {owner}, which is older{what}"
        );
        let hint =
            format!("--acme-challenge-namespace {namespace} lets this one answer for any host");
        let problem = served.warning(field, reason).with_hint(Some(hint));
        self.tell(problem.with_category(Category::Conflict));
    }
}

/// What is answered where nobody has a path.
pub(super) fn not_found() -> Rule {
    Rule {
        respond: Some(Respond {
            status: Some(404),
            ..Respond::default()
        }),
        ..Rule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str, path_type: &str) -> HTTPIngressPath {
        HTTPIngressPath {
            path: Some(text.to_owned()),
            path_type: path_type.to_owned(),
            ..HTTPIngressPath::default()
        }
    }

    #[test]
    fn a_path_is_what_it_is_matched_as() {
        for (text, kind) in [
            ("/.well-known/acme-challenge/token", Kind::Challenge),
            ("/.well-known/acme-challenge/", Kind::Challenge),
            ("/.well-known/%61cme-challenge/token", Kind::Challenge),
            ("/x/../.well-known/acme-challenge/token", Kind::Challenge),
            ("/.well-known/acme-challenge/%2e%2e/admin", Kind::Other),
            ("/.well-known/acme-challenge", Kind::Challenge),
            ("/.well-known", Kind::Challenge),
            ("/.well-known/", Kind::Challenge),
            ("/.well-known/security.txt", Kind::Other),
            ("/.well-known/acme-challenges/token", Kind::Other),
            ("/", Kind::Everything),
            ("/x/..", Kind::Other),
            ("//", Kind::Other),
        ] {
            for path_type in ["Prefix", "ImplementationSpecific"] {
                assert_eq!(kind_of(&path(text, path_type)), kind, "{text:?}");
            }
        }
        assert_eq!(kind_of(&path("/", "Exact")), Kind::Other);
        assert_eq!(kind_of(&path("/.well-known", "Exact")), Kind::Challenge);
        assert_eq!(kind_of(&HTTPIngressPath::default()), Kind::Everything);
    }

    #[test]
    fn a_token_is_one_segment_as_it_is_written() {
        for (text, expected) in [
            ("/.well-known/acme-challenge/LoqXcYV8_q5O-NbJQxkmLw", true),
            ("/.well-known/acme-challenge/", false),
            ("/.well-known/acme-challenge", false),
            ("/.well-known/acme-challenge/a/b", false),
            ("/.well-known/acme-challenge/a/", false),
            ("/.well-known/acme-challenge/..", false),
            ("/.well-known/acme-challenge/%61", false),
            ("/.well-known/acme-challenge/.*", false),
            ("/.well-known/%61cme-challenge/a", false),
            ("/.well-known/acme-challenges/a", false),
        ] {
            assert_eq!(is_token(&path(text, "Exact")), expected, "{text}");
        }
    }
}
