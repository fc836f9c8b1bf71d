//! Which Ingress has a host and a path: the oldest that asks for it.

use std::collections::{HashMap, hash_map::Entry};

use k8s_openapi::api::networking::v1::HTTPIngressPath;
use portcullis_config::problem::Category;

use super::{
    Translation,
    challenges::Owners,
    served::{ANY, Served, host_of},
};
use crate::kube::ResourceName;

/// Hosts and paths, each with the Ingress that has it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    paths: HashMap<(String, PathKey), ResourceName>,
    owners: Owners,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PathKey {
    Exact(String),
    Prefix(String),
}

impl PathKey {
    fn of(path: &HTTPIngressPath) -> Self {
        let text = path.path.clone().unwrap_or_default();
        match path.path_type.as_str() {
            "Exact" => Self::Exact(text),
            // `/a/` and `/a` are the same prefix.
            _ => Self::Prefix(text.trim_end_matches('/').to_owned()),
        }
    }
}

impl Claims {
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
                match claims.paths.entry((host.clone(), PathKey::of(path))) {
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
        of_hosts
    }
}
