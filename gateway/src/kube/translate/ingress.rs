//! Ingresses to routes.

use std::collections::HashSet;

use k8s_openapi::api::networking::v1::HTTPIngressPath;
use portcullis_config::{
    document::{Https, Match, PathMatch, Policies, Route, Rule},
    problem::{Category, Origin},
    read::ItemOrigin,
};

use super::{
    Translation, challenges,
    claims::{Claims, OfHost},
    parameters::Parameters,
    place_of_ingress,
    served::{ANY, MAX_TLS, Served, hosts_of},
};

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

impl<'o> Translation<'o> {
    /// Adds the routes of Ingresses to the document, the oldest first.
    pub(super) fn routes(&mut self, ingresses: &[Served<'o>]) {
        let mut claims = Claims::default();
        let mut routes: Vec<Vec<OfHost<'o>>> = Vec::new();
        for served in ingresses {
            routes.push(self.claimed(served, &mut claims));
        }
        // Only now is it known which hosts have somebody for every path.
        let mut bare = Vec::new();
        for (served, of_hosts) in ingresses.iter().zip(routes) {
            let without = self.ingress(served, of_hosts, &mut claims);
            bare.extend(without.into_iter().map(|of_host| (served, of_host)));
        }
        self.bare_hosts(bare);
    }

    /// Adds the hosts that somebody has a rule for and nobody a path: no broader host takes
    /// their requests, and challenges among them.
    fn bare_hosts(&mut self, bare: Vec<(&Served<'o>, OfHost<'o>)>) {
        if bare.is_empty() {
            return;
        }
        let routes = self.read.document.routes.iter();
        let mut known: HashSet<String> = routes.flat_map(|route| route.hosts.clone()).collect();
        for (served, of_host) in bare {
            if of_host.host != ANY && known.insert(of_host.host.clone()) {
                let reason = format!(
                    "no path of {} is served: its requests get 404, and no wildcard takes them",
                    of_host.host
                );
                self.tell(served.warning(&of_host.field, reason));
                let rules = vec![(of_host.field.clone(), challenges::not_found())];
                self.route(served, &of_host, false, (None, None), rules);
            }
        }
    }

    /// Adds the routes of an Ingress, and returns its hosts that have none.
    fn ingress(
        &mut self,
        served: &Served<'o>,
        mut of_hosts: Vec<OfHost<'o>>,
        claims: &mut Claims,
    ) -> Vec<OfHost<'o>> {
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
        let parameters = self.parameters_of(served);
        let is_closed = matches!(parameters, Some(Parameters::Unreadable));
        let secure = Secure::of(served);
        let is_only = of_hosts.len() == 1;
        let mut bare = Vec::new();
        for of_host in of_hosts {
            let mut rules = Vec::new();
            for (field, path) in &of_host.paths {
                let closed = self.closed_to(served, (&of_host.host, claims), (field, path));
                rules.extend(closed.map(|rule| (field.clone(), rule)));
                rules.push((field.clone(), self.rule(served, field, path, is_closed)));
            }
            // Whatever no path of the host takes, unless somebody has all of them.
            if let Some(backend) = default {
                let field = "spec.defaultBackend".to_owned();
                match claims.take_rest(&of_host.host, &served.name) {
                    Ok(()) => {
                        let closed = self.rest_closed_to(served, (&of_host.host, claims), &field);
                        rules.extend(closed.map(|rule| (field.clone(), rule)));
                        let backends = match is_closed {
                            true => Vec::new(),
                            false => self.backends(served, &field, backend),
                        };
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
                bare.push(of_host);
                continue;
            }
            let is_secure = secure.has(&of_host.host);
            let policies = self.policies(is_secure, parameters.as_ref());
            let said_at = match &parameters {
                Some(Parameters::Said(said)) => Some(said.1.clone()),
                _ => None,
            };
            self.route(served, &of_host, is_only, (policies, said_at), rules);
        }
        bare
    }

    /// Adds the route of a host, with its rules and their fields.
    fn route(
        &mut self,
        served: &Served<'o>,
        of_host: &OfHost<'o>,
        is_only: bool,
        (policies, said_at): (Option<Policies>, Option<Origin>),
        rules: Vec<(String, Rule)>,
    ) {
        let shown = match of_host.host.as_str() {
            ANY => "*",
            host => host,
        };
        let name = match is_only {
            true => served.name.to_string(),
            false => format!("{}/{shown}", served.name),
        };
        let index = self.read.document.routes.len();
        let (fields, rules) = rules.into_iter().unzip();
        let origin = ItemOrigin {
            whole: place_of_ingress(&served.name, &of_host.field),
            rules: fields,
            policies: said_at,
            is_alike: false,
        };
        self.read.origins.note("routes", index, origin);
        let route = Route {
            name: name.clone(),
            listeners: Vec::new(),
            hosts: match of_host.host.as_str() {
                ANY => Vec::new(),
                host => vec![host.to_owned()],
            },
            single_label: !self.options.many_labels,
            policies: policies.map(Box::new),
            rules,
        };
        let before = &mut self.before.routes;
        let route = self.made.routes.hold(before, &name, route);
        self.read.document.routes.push(route);
    }

    /// The policies of the class. A host with a certificate of its own is redirected to, unless
    /// they or the settings say what is done with requests in clear.
    fn policies(&self, is_secure: bool, parameters: Option<&Parameters>) -> Option<Policies> {
        let mut policies = match parameters {
            Some(Parameters::Said(said)) => Some(said.0.clone()),
            Some(Parameters::Unreadable) | None => None,
        };
        let said = [policies.as_ref(), self.read.document.defaults.as_ref()];
        let is_said = said.into_iter().flatten().any(|said| said.https.is_some());
        if is_secure && !is_said {
            policies.get_or_insert_default().https = Some(Https::Redirect);
        }
        policies
    }

    /// A rule for a path.
    fn rule(
        &mut self,
        served: &Served<'o>,
        field: &str,
        path: &'o HTTPIngressPath,
        is_closed: bool,
    ) -> Rule {
        let text = path.path.clone().unwrap_or_else(|| "/".to_owned());
        let is_challenge = challenges::is_answered(served, path);
        let path_match = match path.path_type.as_str() {
            "Exact" => PathMatch::Exact(text),
            "Prefix" => PathMatch::Prefix(text),
            _ if is_challenge => PathMatch::Exact(text),
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
        let of_method = |method: Option<&str>| Match {
            path: Some(path_match.clone()),
            method: method.map(str::to_owned),
            ..Match::default()
        };
        Rule {
            // A challenge comes from anybody, in clear, before there is a certificate. Limits and
            // the WAF hold for it as for others.
            policies: is_challenge.then(|| {
                Box::new(Policies {
                    access: Some(Vec::new()),
                    authentication: Some(Vec::new()),
                    https: Some(Https::Optional),
                    ..Policies::default()
                })
            }),
            matches: match is_challenge {
                true => vec![of_method(Some("GET")), of_method(Some("HEAD"))],
                false => vec![of_method(None)],
            },
            backends: match is_closed {
                true => Vec::new(),
                false => self.backends(served, &format!("{field}.backend"), &path.backend),
            },
            ..Rule::default()
        }
    }
}
