//! Ingresses to routes.

use std::collections::{BTreeSet, HashSet};

use k8s_openapi::{
    api::networking::v1::{
        HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressTLS,
    },
    jiff::Timestamp,
};
use portcullis_config::{
    document::{Https, Match, PathMatch, Policies, Route, RouteBackend, RouteWaf, Rule},
    problem::{Category, Problem},
};

use super::{
    Translation,
    claims::{Claims, OfHost},
    ingress_class::Classes,
    place_of_ingress, place_of_service,
};
use crate::kube::{ObjectSet, Options, ResourceName};

/// How cert-manager marks the Ingresses with which it answers ACME challenges.
const SOLVER: &str = "acme.cert-manager.io/http01-solver";

/// Where these challenges are (RFC 8555 section 8.3). The mark lifts nothing anywhere else.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Items of `spec.tls` that are served: each may name a Secret, which has to be read.
const MAX_TLS: usize = 500;

/// The host of rules that name none.
pub(super) const ANY: &str = "";

/// An Ingress that is served.
#[derive(Debug)]
pub(super) struct Served<'o> {
    pub(super) name: ResourceName,
    ingress: &'o Ingress,
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
        .map(|(name, ingress)| Served::new(name, ingress))
        .collect();
    ours.sort_by(|a, b| (a.created(), &a.name).cmp(&(b.created(), &b.name)));
    ours
}

impl<'o> Served<'o> {
    fn new(name: &ResourceName, ingress: &'o Ingress) -> Self {
        let mut served = Self {
            name: name.clone(),
            ingress,
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

    fn all_tls(&self) -> &'o [IngressTLS] {
        let spec = self.ingress.spec.as_ref();
        spec.and_then(|spec| spec.tls.as_deref())
            .unwrap_or_default()
    }

    fn default_backend(&self) -> Option<&'o IngressBackend> {
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
    fn is_solver(&self) -> bool {
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

/// The hosts that an Ingress has a certificate for, or wants the default one for.
struct Secure {
    all: bool,
    named: HashSet<String>,
}

impl Secure {
    fn of(served: &Served<'_>) -> Self {
        let named = served.tls().iter().map(hosts_of);
        Self {
            all: named.clone().any(|hosts| hosts.is_none()),
            named: named.flatten().flatten().collect(),
        }
    }

    /// Whether a host is one of them; a wildcard stands for one label.
    fn has(&self, host: &str) -> bool {
        let wildcard = || {
            let (_, suffix) = host.split_once('.')?;
            Some(self.named.contains(&format!("*.{suffix}")))
        };
        host != ANY && (self.all || self.named.contains(host) || wildcard() == Some(true))
    }
}

pub(super) fn host_of(rule: &IngressRule) -> String {
    canonical(rule.host.as_deref())
}

/// A host as it is compared.
fn canonical(host: Option<&str>) -> String {
    host.unwrap_or(ANY).to_ascii_lowercase()
}

impl<'o> Translation<'o> {
    /// Adds the routes of Ingresses to the document, the oldest first.
    pub(super) fn routes(&mut self, ingresses: &[Served<'o>]) {
        let mut claims = Claims::default();
        let mut routes: Vec<Vec<OfHost<'o>>> = Vec::new();
        for served in ingresses {
            routes.push(self.claimed(served, &mut claims));
        }
        // Only now is it known which hosts have somebody for every path.
        for (served, of_hosts) in ingresses.iter().zip(routes) {
            self.ingress(served, of_hosts, &mut claims);
        }
    }

    fn ingress(&mut self, served: &Served<'o>, mut of_hosts: Vec<OfHost<'o>>, claims: &mut Claims) {
        let default = served.default_backend();
        if default.is_some() && !of_hosts.iter().any(|known| known.host == ANY) {
            of_hosts.push(OfHost {
                host: ANY.to_owned(),
                field: "spec.defaultBackend".to_owned(),
                paths: Vec::new(),
            });
        }
        if default.is_none() && served.rules().is_empty() {
            let reason = "an Ingress without rules and without a default backend";
            self.tell(served.warning("spec", reason));
        }
        if served.all_tls().len() > MAX_TLS {
            let reason = format!("only the first {MAX_TLS} of them are served");
            let problem = served.warning("spec.tls", reason);
            self.tell(problem.with_category(Category::CertificateInvalid));
        }
        let secure = Secure::of(served);
        let is_only = of_hosts.len() == 1;
        for of_host in of_hosts {
            let mut rules = Vec::new();
            for (field, path) in &of_host.paths {
                rules.push((field.clone(), self.rule(served, field, path)));
            }
            // Whatever no path of the host takes, unless somebody has all of them.
            if let Some(backend) = default {
                let field = "spec.defaultBackend".to_owned();
                match claims.take_rest(&of_host.host, &served.name) {
                    Ok(()) => {
                        let backends = self.backends(served, &field, backend);
                        let rule = Rule {
                            backends,
                            ..Rule::default()
                        };
                        rules.push((field, rule));
                    }
                    // Of its own hosts it is told where their paths are.
                    Err(owner) if of_host.host == ANY && owner != served.name => {
                        let reason =
                            format!("every host is that of Ingress {owner}, which is older");
                        let problem = served.warning(&field, reason);
                        self.tell(problem.with_category(Category::Conflict));
                    }
                    Err(_) => {}
                }
            }
            if rules.is_empty() {
                continue;
            }
            let shown = match of_host.host.as_str() {
                ANY => "*",
                host => host,
            };
            let name = match is_only {
                true => served.name.to_string(),
                false => format!("{}/{shown}", served.name),
            };
            let index = self.read.document.routes.len();
            self.origin(
                format!("routes[{index}]"),
                place_of_ingress(&served.name, &of_host.field),
            );
            for (number, (field, _)) in rules.iter().enumerate() {
                self.origin(
                    format!("routes[{index}].rules[{number}]"),
                    place_of_ingress(&served.name, field),
                );
            }
            let is_secure = secure.has(&of_host.host);
            self.read.document.routes.push(Route {
                name,
                listeners: Vec::new(),
                hosts: match of_host.host.as_str() {
                    ANY => Vec::new(),
                    host => vec![host.to_owned()],
                },
                single_label: !self.options.many_labels,
                policies: self.policies(is_secure),
                rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            });
        }
    }

    /// A host with a certificate of its own is redirected to, unless the settings say
    /// what is done with requests in clear.
    fn policies(&self, is_secure: bool) -> Option<Policies> {
        let said = self.read.document.defaults.as_ref();
        let is_said = said.is_some_and(|defaults| defaults.https.is_some());
        (is_secure && !is_said).then(|| Policies {
            https: Some(Https::Redirect),
            ..Policies::default()
        })
    }

    fn rule(&mut self, served: &Served<'o>, field: &str, path: &'o HTTPIngressPath) -> Rule {
        let text = path.path.clone().unwrap_or_else(|| "/".to_owned());
        let path_match = match path.path_type.as_str() {
            "Exact" => PathMatch::Exact(text),
            "Prefix" => PathMatch::Prefix(text),
            _ => {
                if text.contains(['(', '|', '*', '$', '^', '[', '\\']) {
                    let reason = format!("{text:?} is taken as a prefix, as it is written");
                    let hint = "a regular expression is not served yet";
                    let problem = served.warning(&format!("{field}.path"), reason);
                    self.tell(problem.with_hint(Some(hint)));
                }
                PathMatch::Prefix(text)
            }
        };
        let is_challenge = served.is_solver()
            && path
                .path
                .as_deref()
                .is_some_and(|path| path.starts_with(CHALLENGES));
        Rule {
            // A challenge comes from anybody, in clear, before there is a certificate.
            policies: is_challenge.then(|| Policies {
                access: Some(Vec::new()),
                authentication: Some(Vec::new()),
                rate_limits: Some(Vec::new()),
                https: Some(Https::Optional),
                waf: Some(RouteWaf::default()),
                ..Policies::default()
            }),
            matches: vec![Match {
                path: Some(path_match),
                ..Match::default()
            }],
            backends: self.backends(served, &format!("{field}.backend"), &path.backend),
            ..Rule::default()
        }
    }

    fn backends(
        &mut self,
        served: &Served<'o>,
        field: &str,
        backend: &'o IngressBackend,
    ) -> Vec<RouteBackend> {
        match &backend.service {
            Some(service) => vec![RouteBackend {
                name: self.service(served, field, service),
                weight: None,
            }],
            None => {
                let reason = match &backend.resource {
                    Some(resource) => format!(
                        "a resource ({} {}) cannot be a backend: its requests get 503",
                        resource.kind, resource.name
                    ),
                    None => "names no Service: its requests get 503".to_owned(),
                };
                self.tell(served.error(field, reason));
                Vec::new()
            }
        }
    }

    /// The name of the backend of a Service, which is added where it is not there yet.
    fn service(
        &mut self,
        served: &Served<'o>,
        field: &str,
        wanted: &'o IngressServiceBackend,
    ) -> String {
        let namespace = &served.name.namespace;
        let name = super::service::name(namespace, wanted);
        if !self.known_backends.contains_key(&name) {
            let (objects, options) = (self.objects, self.options);
            let made = super::service::backend(objects, options, &self.slices, namespace, wanted);
            let index = self.read.document.backends.len();
            let service = ResourceName::new(namespace, &wanted.name);
            if made.problem.is_none() && made.backend.endpoints.is_empty() {
                self.no_endpoint(&service, &name);
            }
            self.origin(format!("backends[{index}]"), place_of_service(&service));
            self.read.document.backends.push(made.backend);
            self.known_backends.insert(name.clone(), made.problem);
        }
        if let Some(Some(wrong)) = self.known_backends.get(&name) {
            let reason = format!("{}: its requests get 503", wrong.reason);
            let problem = served.error(field, reason).with_hint(wrong.hint);
            let problem = problem.with_category(wrong.category);
            self.tell(problem);
        }
        name
    }
}
