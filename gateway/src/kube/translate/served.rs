//! The Ingresses that are served, and what they say of themselves.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::networking::v1::{Ingress, IngressBackend, IngressRule, IngressTLS},
    jiff::Timestamp,
};
use portcullis_config::problem::Problem;

use super::{ingress_class::Classes, place_of_ingress};
use crate::kube::{ObjectSet, Options, ResourceName};

/// How cert-manager marks the Ingresses with which it answers ACME challenges.
const SOLVER: &str = "acme.cert-manager.io/http01-solver";

/// Items of `spec.tls` that are served: each may name a Secret, which has to be read.
pub(super) const MAX_TLS: usize = 500;

/// The host of rules that name none.
pub(super) const ANY: &str = "";

/// An Ingress that is served.
#[derive(Debug)]
pub(super) struct Served<'o> {
    pub(super) name: ResourceName,
    ingress: &'o Ingress,
    /// Which of our classes it is of, if of any.
    pub(super) class: Option<&'o str>,
    /// The hosts of its rules that are named, each once.
    pub(super) hosts: BTreeSet<String>,
}

/// The Ingresses of our classes, the oldest first; of the same age by namespace and name.
pub(super) fn served<'o>(objects: &'o ObjectSet, options: &Options) -> Vec<Served<'o>> {
    let classes = Classes::of(objects, options);
    let ours = objects
        .ingresses
        .iter()
        .filter(|(_, ingress)| classes.have(ingress));
    let mut ours: Vec<_> = ours
        .map(|(name, ingress)| Served::new(name, ingress, classes.name_of(ingress)))
        .collect();
    ours.sort_by(|a, b| (a.created(), &a.name).cmp(&(b.created(), &b.name)));
    ours
}

impl<'o> Served<'o> {
    fn new(name: &ResourceName, ingress: &'o Ingress, class: Option<&'o str>) -> Self {
        let mut served = Self {
            name: name.clone(),
            ingress,
            class,
            hosts: BTreeSet::new(),
        };
        served.hosts = served.rules().iter().map(host_of).collect();
        served.hosts.remove(ANY);
        served
    }

    fn created(&self) -> Option<Timestamp> {
        let created = self.ingress.metadata.creation_timestamp.as_ref();
        created.map(|time| time.0)
    }

    /// Its `spec.rules`.
    pub(super) fn rules(&self) -> &'o [IngressRule] {
        let spec = self.ingress.spec.as_ref();
        spec.and_then(|spec| spec.rules.as_deref())
            .unwrap_or_default()
    }

    /// Its `spec.tls`, as many as are served.
    pub(super) fn tls(&self) -> &'o [IngressTLS] {
        let all = self.all_tls();
        &all[..all.len().min(MAX_TLS)]
    }

    pub(super) fn all_tls(&self) -> &'o [IngressTLS] {
        let spec = self.ingress.spec.as_ref();
        spec.and_then(|spec| spec.tls.as_deref())
            .unwrap_or_default()
    }

    pub(super) fn default_backend(&self) -> Option<&'o IngressBackend> {
        self.ingress.spec.as_ref()?.default_backend.as_ref()
    }

    /// The Services that it names.
    pub(super) fn services(&self) -> impl Iterator<Item = &'o str> {
        let paths = self.rules().iter().filter_map(|rule| rule.http.as_ref());
        let backends = paths.flat_map(|http| http.paths.iter().map(|path| &path.backend));
        let backends = backends.chain(self.default_backend());
        backends.filter_map(|backend| Some(backend.service.as_ref()?.name.as_str()))
    }

    /// An error of a field of it.
    pub(super) fn error(&self, field: &str, reason: impl Into<String>) -> Problem {
        Problem::error(place_of_ingress(&self.name, field), "", reason)
    }

    /// A warning of a field of it.
    pub(super) fn warning(&self, field: &str, reason: impl Into<String>) -> Problem {
        Problem::warning(place_of_ingress(&self.name, field), "", reason)
    }

    /// Whether it answers challenges of an ACME server.
    pub(super) fn is_solver(&self) -> bool {
        let labels = self.ingress.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(SOLVER))
            .map(String::as_str)
            == Some("true")
    }
}

/// The hosts that one of `spec.tls` names; none where it means those of the rules.
pub(super) fn hosts_of(tls: &IngressTLS) -> Option<impl Iterator<Item = String>> {
    let named = tls.hosts.as_deref().filter(|hosts| !hosts.is_empty())?;
    Some(named.iter().map(|host| canonical(Some(host))))
}

pub(super) fn host_of(rule: &IngressRule) -> String {
    canonical(rule.host.as_deref())
}

/// A host as it is compared.
fn canonical(host: Option<&str>) -> String {
    host.unwrap_or(ANY).to_ascii_lowercase()
}
