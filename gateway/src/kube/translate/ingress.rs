//! Ingresses to routes.

use k8s_openapi::{
    api::networking::v1::{
        HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressTLS,
    },
    jiff::Timestamp,
};
use portcullis_config::document::{
    Https, Match, PathMatch, Policies, Route, RouteBackend, RouteWaf, Rule,
};

use super::{
    Translation,
    claims::{Claims, OfHost},
    ingress_class::Classes,
    place_of_ingress,
};
use crate::kube::{ObjectSet, Options, ResourceName};

/// How cert-manager marks the Ingresses with which it answers ACME challenges.
const SOLVER: &str = "acme.cert-manager.io/http01-solver";

/// Where these challenges are (RFC 8555 section 8.3). The mark lifts nothing anywhere else.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The host of rules that name none.
pub(super) const ANY: &str = "";

/// An Ingress that is served.
#[derive(Debug)]
pub(super) struct Served<'o> {
    pub(super) name: ResourceName,
    ingress: &'o Ingress,
}

/// The Ingresses of our classes, the oldest first; of the same age by namespace and name.
pub(super) fn served<'o>(objects: &'o ObjectSet, options: &Options) -> Vec<Served<'o>> {
    let classes = Classes::of(objects, options);
    let ours = objects
        .ingresses
        .iter()
        .filter(|(_, ingress)| classes.have(ingress));
    let mut ours: Vec<_> = ours
        .map(|(name, ingress)| Served {
            name: name.clone(),
            ingress,
        })
        .collect();
    ours.sort_by(|a, b| (a.created(), &a.name).cmp(&(b.created(), &b.name)));
    ours
}

impl<'o> Served<'o> {
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

    /// Its `spec.tls`.
    pub(super) fn tls(&self) -> &'o [IngressTLS] {
        let spec = self.ingress.spec.as_ref();
        spec.and_then(|spec| spec.tls.as_deref())
            .unwrap_or_default()
    }

    fn default_backend(&self) -> Option<&'o IngressBackend> {
        self.ingress.spec.as_ref()?.default_backend.as_ref()
    }

    /// The hosts of one of its `spec.tls`; where that names none, those of its rules.
    pub(super) fn hosts_of(&self, tls: &IngressTLS) -> Vec<String> {
        let named = tls.hosts.as_deref().unwrap_or_default();
        let named: Vec<String> = named.iter().map(|host| canonical(Some(host))).collect();
        match named.is_empty() {
            true => {
                let mut hosts: Vec<String> = self.rules().iter().map(host_of).collect();
                hosts.retain(|host| host != ANY);
                hosts.sort();
                hosts.dedup();
                hosts
            }
            false => named,
        }
    }

    /// Whether it answers challenges of an ACME server.
    fn is_solver(&self) -> bool {
        let labels = self.ingress.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(SOLVER))
            .map(String::as_str)
            == Some("true")
    }

    /// The hosts that it has a certificate for, or wants the default one for.
    fn secure_hosts(&self) -> Vec<String> {
        let tls = self.tls().iter();
        tls.flat_map(|tls| self.hosts_of(tls)).collect()
    }
}

pub(super) fn host_of(rule: &IngressRule) -> String {
    canonical(rule.host.as_deref())
}

/// A host as it is compared.
fn canonical(host: Option<&str>) -> String {
    host.unwrap_or(ANY).to_ascii_lowercase()
}

/// Whether a host is one of some, which may have a wildcard for one label.
fn is_among(host: &str, hosts: &[String]) -> bool {
    hosts.iter().any(|known| {
        let covers = |suffix: &str| host.split_once('.').is_some_and(|(_, rest)| rest == suffix);
        known == host || known.strip_prefix("*.").is_some_and(covers)
    })
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
            let reason = "an Ingress without rules and without a default backend".to_owned();
            self.warn(served, "spec", reason, None);
        }
        let secure = served.secure_hosts();
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
                        self.warn(served, &field, reason, None);
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
            let is_secure = is_among(&of_host.host, &secure);
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
                    self.warn(served, &format!("{field}.path"), reason, Some(hint));
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
                self.error(served, field, reason, None);
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
        let made =
            super::service::backend(self.objects, self.options, &self.slices, namespace, wanted);
        if let Some((reason, hint)) = &made.problem {
            let reason = format!("{reason}: its requests get 503");
            self.error(served, field, reason, *hint);
        }
        let name = made.backend.name.clone();
        if self.known_backends.insert(name.clone()) {
            let index = self.read.document.backends.len();
            let service = ResourceName::new(namespace, &wanted.name);
            if made.problem.is_none() && made.backend.endpoints.is_empty() {
                self.no_endpoint(&service, &made.backend.name);
            }
            self.origin(
                format!("backends[{index}]"),
                super::place_of_service(&service),
            );
            self.read.document.backends.push(made.backend);
        }
        name
    }
}
