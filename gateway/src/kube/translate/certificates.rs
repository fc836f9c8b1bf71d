//! Which certificate a host is served with: that of the object which declares it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::IngressTLS;
use portcullis_config::{
    document::{Certificate, ListenerProtocol, ListenerTls},
    problem::Category,
    read::ItemOrigin,
    route::canonical_host,
};

use super::{
    Translation,
    served::{Served, hosts_of},
};
use crate::{files::Contents, kube::ResourceName};

/// Name of the certificate for hosts that have none of their own.
const DEFAULT: &str = "/default";

/// What the name of a certificate ends with that may stand in for those of older Ingresses.
const SPARE: &str = "/spare";

/// Keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The owner of a host: which Ingress, and its Secret if it names one.
struct Owner {
    ingress: ResourceName,
    secret: Option<ResourceName>,
}

/// Which certificate each host has.
#[derive(Default)]
struct Hosts {
    owners: HashMap<String, Owner>,
    /// Those that have a host.
    own: Secrets,
    /// Those that newer Ingresses of the namespace say for a host.
    spare: Secrets,
    /// The same, each with each of its hosts.
    spared: HashSet<(ResourceName, String)>,
    /// Those that want the certificate of whoever has none.
    of_default: Vec<String>,
}

/// Secrets and their hosts.
#[derive(Default)]
struct Secrets {
    hosts: HashMap<ResourceName, Vec<String>>,
    /// As they were first named: by which Ingress, and where.
    order: Vec<(ResourceName, ResourceName, String)>,
}

impl Secrets {
    fn add(&mut self, secret: ResourceName, host: String, ingress: &ResourceName, field: &str) {
        let hosts = self.hosts.entry(secret.clone()).or_default();
        if hosts.is_empty() {
            let field = format!("{field}.secretName");
            self.order.push((secret, ingress.clone(), field));
        }
        hosts.push(host);
    }
}

impl<'o> Translation<'o> {
    /// Adds the certificates of hosts to the document. `ingresses` are in the order of their
    /// age: a host belongs to the first that declares it, of those in the namespace that has
    /// the oldest rule for it, if there is any.
    pub(super) fn certificates(&mut self, ingresses: &[Served<'o>]) {
        let mut routed: HashMap<&str, &ResourceName> = HashMap::new();
        for served in ingresses {
            for host in &served.hosts {
                routed.entry(host).or_insert(&served.name);
            }
        }
        let mut hosts = Hosts::default();
        for served in ingresses {
            let mut had_all = false;
            for (index, tls) in served.tls().iter().enumerate() {
                let field = format!("spec.tls[{index}]");
                match hosts_of(tls) {
                    Some(named) => {
                        for host in named {
                            self.claim(served, (&field, tls), host, &routed, &mut hosts);
                        }
                    }
                    // All hosts of the rules: a second one has nothing left.
                    None if had_all => {}
                    None => {
                        had_all = true;
                        for host in &served.hosts {
                            self.claim(served, (&field, tls), host.clone(), &routed, &mut hosts);
                        }
                    }
                }
            }
        }
        // A wildcard of another namespace does not cover a host that somebody serves.
        for (host, whose) in &routed {
            let covers = |suffix| hosts.owners.get(&format!("*.{suffix}"));
            let covering = host.split_once('.').and_then(|(_, suffix)| covers(suffix));
            let is_foreign =
                covering.is_some_and(|owner| owner.ingress.namespace != whose.namespace);
            if is_foreign && !hosts.owners.contains_key(*host) && is_host(host) {
                hosts.of_default.push((*host).to_owned());
            }
        }
        hosts.of_default.sort();
        self.default_certificate(hosts.of_default);
        self.secrets(hosts.own, "");
        // Behind all that have a host: of two for one host the first that is valid is served.
        self.secrets(hosts.spare, SPARE);
    }

    /// Adds certificates, each with its hosts.
    fn secrets(&mut self, mut secrets: Secrets, suffix: &str) {
        for (secret, ingress, field) in secrets.order {
            let hosts = secrets.hosts.remove(&secret).unwrap_or_default();
            let index = self.read.document.certificates.len();
            let origin = super::place_of_ingress(&ingress, &field);
            let origin = ItemOrigin::of(origin);
            self.read.origins.note("certificates", index, origin);
            self.certificate(Certificate {
                name: format!("{secret}{suffix}"),
                certificate: Contents::path(&secret.namespace, &secret.name, CERTIFICATE),
                key: Contents::path(&secret.namespace, &secret.name, KEY),
                ocsp: None,
                hosts,
            });
            self.hold(&secret);
        }
    }

    /// Gives a host to the Ingress that declares it, unless another has it.
    fn claim(
        &mut self,
        served: &Served<'o>,
        (field, tls): (&str, &IngressTLS),
        host: String,
        routed: &HashMap<&str, &ResourceName>,
        hosts: &mut Hosts,
    ) {
        let secret = tls.secret_name.as_deref().filter(|name| !name.is_empty());
        let secret = secret.map(|name| ResourceName::new(&served.name.namespace, name));
        // One that could not be served must not take others along that have the certificate too.
        if !is_host(&host) {
            let problem = served.warning(field, format!("{host:?} is not a host name"));
            return self.tell(problem.with_category(Category::CertificateInvalid));
        }
        if let Some(whose) = routed.get(host.as_str())
            && whose.namespace != served.name.namespace
        {
            let reason = format!(
                "{host} is a host of Ingress {whose}, which is older: its certificate comes from that namespace"
            );
            let problem = served.warning(field, reason);
            return self.tell(problem.with_category(Category::Conflict));
        }
        if let Some(owner) = hosts.owners.get(&host) {
            let is_own = owner.ingress == served.name;
            if owner.secret != secret && !(is_own && tls.hosts.is_none()) {
                let (reason, category) = match is_own {
                    true => (format!("{host} stands twice"), Category::CertificateInvalid),
                    false => (
                        format!(
                            "{host} is served with the certificate of Ingress {}, which is older",
                            owner.ingress
                        ),
                        Category::Conflict,
                    ),
                };
                // Who is served the default one wants no certificate, and none stands in for it.
                let is_spare = !is_own
                    && owner.ingress.namespace == served.name.namespace
                    && owner.secret.is_some();
                let reason = match secret.filter(|_| is_spare) {
                    None => reason,
                    Some(secret) => {
                        if hosts.spared.insert((secret.clone(), host.clone())) {
                            hosts.spare.add(secret, host, &served.name, field);
                        }
                        format!("{reason}, as long as that is valid")
                    }
                };
                self.tell(served.warning(field, reason).with_category(category));
            }
            return;
        }
        let owner = Owner {
            ingress: served.name.clone(),
            secret: secret.clone(),
        };
        hosts.owners.insert(host.clone(), owner);
        let Some(secret) = secret else {
            return hosts.of_default.push(host);
        };
        hosts.own.add(secret, host, &served.name, field);
    }

    /// Has the https listeners serve a certificate to whoever asks for no host of ours.
    fn default_certificate(&mut self, mut hosts: Vec<String>) {
        let wants = |tls: &Option<ListenerTls>| {
            tls.as_ref()
                .is_none_or(|tls| tls.default_certificate.is_none())
        };
        let listeners = self.read.document.listeners.iter_mut();
        let listeners = listeners.filter(|listener| listener.protocol == ListenerProtocol::Https);
        let mut is_wanted = false;
        for listener in listeners.filter(|listener| wants(&listener.tls)) {
            let tls = listener.tls.get_or_insert_default();
            tls.default_certificate = Some(DEFAULT.to_owned());
            is_wanted = true;
        }
        if !is_wanted {
            return;
        }
        let secret = match &self.options.default_certificate {
            Some(secret) => {
                self.hold(secret);
                secret.clone()
            }
            None => {
                let keys = Arc::new(super::self_signed::keys());
                self.contents.insert("", "self-signed", keys);
                ResourceName::new("", "self-signed")
            }
        };
        // A list without any would mean those in the certificate.
        hosts.push("default.invalid".to_owned());
        let index = self.read.document.certificates.len();
        let origin = super::place_of_secret(&secret);
        let origin = ItemOrigin::of(origin);
        self.read.origins.note("certificates", index, origin);
        self.certificate(Certificate {
            name: DEFAULT.to_owned(),
            certificate: Contents::path(&secret.namespace, &secret.name, CERTIFICATE),
            key: Contents::path(&secret.namespace, &secret.name, KEY),
            ocsp: None,
            hosts,
        });
    }

    fn certificate(&mut self, certificate: Certificate) {
        let (name, before) = (certificate.name.clone(), &mut self.before.certificates);
        let certificate = self.made.certificates.hold(before, &name, certificate);
        self.read.document.certificates.push(certificate);
    }

    /// Lets the keys of a Secret be read.
    fn hold(&mut self, name: &ResourceName) {
        if let Some(secret) = self.objects.secrets.get(name) {
            let keys = Arc::clone(secret);
            self.contents.insert(&name.namespace, &name.name, keys);
        }
    }
}

/// Whether a host of `spec.tls` can be served: the API lets more pass than names have.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    !name.contains(['*', ':']) && canonical_host(name).is_ok_and(|(_, port)| port.is_none())
}
