//! Which Ingress has a host and a path: the oldest that asks for it.

use std::collections::{HashMap, hash_map::Entry};

use k8s_openapi::api::networking::v1::HTTPIngressPath;
use portcullis_config::problem::Category;

use super::{
    Translation,
    challenges::{self, Owners},
    served::{ANY, Served, host_of},
};
use crate::kube::ResourceName;

/// Hosts and paths, each with the Ingress that has it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    paths: HashMap<(String, PathKey), ResourceName>,
    pub(super) owners: Owners,
}

/// What a path takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PathKey {
    Exact(String),
    /// Without a slash behind it: `/a/` and `/a` are the same prefix.
    Prefix(String),
}

impl PathKey {
    /// Of a path of an Ingress.
    pub(super) fn of(served: &Served<'_>, path: &HTTPIngressPath) -> Self {
        let text = path.path.as_deref().unwrap_or("/");
        match path.path_type.as_str() {
            "Exact" => Self::Exact(text.to_owned()),
            _ if challenges::is_answered(served, path) => Self::Exact(text.to_owned()),
            // One alone: with two the path is refused, and takes nothing.
            _ => Self::Prefix(text.strip_suffix('/').unwrap_or(text).to_owned()),
        }
    }
}

impl Claims {
    /// Whether somebody has a path of a host.
    pub(super) fn has(&self, host: &str, path: PathKey) -> bool {
        self.paths.contains_key(&(host.to_owned(), path))
    }

    /// Takes every path of a host that no other rule takes.
    ///
    /// # Errors
    /// Who has them already.
    pub(super) fn take_rest(
        &mut self,
        host: &str,
        ingress: &ResourceName,
    ) -> Result<(), ResourceName> {
        let rest = (host.to_owned(), PathKey::Prefix(String::new()));
        match self.paths.entry(rest) {
            Entry::Vacant(free) => {
                free.insert(ingress.clone());
                Ok(())
            }
            Entry::Occupied(taken) => Err(taken.get().clone()),
        }
    }
}

/// The rules of one host of an Ingress, each with its field.
pub(super) struct OfHost<'o> {
    pub(super) host: String,
    pub(super) field: String,
    pub(super) paths: Vec<(String, &'o HTTPIngressPath)>,
}

impl<'o> Translation<'o> {
    /// The paths of an Ingress that no older one has.
    pub(super) fn claimed(&mut self, served: &Served<'o>, claims: &mut Claims) -> Vec<OfHost<'o>> {
        let mut of_hosts: Vec<OfHost<'o>> = Vec::new();
        for (number, rule) in served.rules().iter().enumerate() {
            let host = host_of(rule);
            let field = format!("spec.rules[{number}]");
            let at = of_hosts.iter().position(|known| known.host == host);
            let at = at.unwrap_or_else(|| {
                of_hosts.push(OfHost {
                    host: host.clone(),
                    field: field.clone(),
                    paths: Vec::new(),
                });
                of_hosts.len() - 1
            });
            claims.owners.note(&host, &served.name);
            let paths = rule.http.as_ref().map_or(&[][..], |http| &http.paths);
            for (index, path) in paths.iter().enumerate() {
                let field = format!("{field}.http.paths[{index}]");
                if !self.may_answer(served, (&host, &claims.owners), (&field, path)) {
                    continue;
                }
                let key = (host.clone(), PathKey::of(served, path));
                match claims.paths.entry(key) {
                    Entry::Vacant(free) => {
                        free.insert(served.name.clone());
                        of_hosts[at].paths.push((field, path));
                    }
                    Entry::Occupied(taken) => {
                        let (whose, category) = match *taken.get() == served.name {
                            true => ("stands twice".to_owned(), Category::Questionable),
                            false => (
                                format!("is that of Ingress {}, which is older", taken.get()),
                                Category::Conflict,
                            ),
                        };
                        let shown = match host.as_str() {
                            ANY => "*",
                            host => host,
                        };
                        let path = path.path.as_deref().unwrap_or("/");
                        let problem = served.warning(&field, format!("{shown}{path} {whose}"));
                        self.tell(problem.with_category(category));
                    }
                }
            }
        }
        // It has every host that nobody names.
        if served.default_backend().is_some() {
            claims.owners.note(ANY, &served.name);
        }
        of_hosts
    }
}
