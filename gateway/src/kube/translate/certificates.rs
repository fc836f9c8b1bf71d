//! Which certificate a host is served with: that of the object which declares it.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_config::document::{Certificate, ListenerProtocol, ListenerTls};

use super::{Translation, ingress::Served};
use crate::{
    files::Contents,
    kube::{ResourceName, objects::SecretKeys},
};

/// Name of the certificate for hosts that have none of their own.
const DEFAULT: &str = "/default";

/// Keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The owner of a host: which Ingress, and its Secret if it names one.
struct Owner {
    ingress: ResourceName,
    secret: Option<ResourceName>,
}

impl<'o> Translation<'o> {
    /// Adds the certificates of hosts to the document. `ingresses` are in the order of their
    /// age: a host belongs to the first that declares it.
    pub(super) fn certificates(&mut self, ingresses: &[Served<'o>]) {
        let mut owners: BTreeMap<String, Owner> = BTreeMap::new();
        let mut hosts_of: BTreeMap<ResourceName, Vec<String>> = BTreeMap::new();
        let mut order: Vec<(ResourceName, ResourceName, String)> = Vec::new();
        let mut of_default = Vec::new();
        for served in ingresses {
            for (index, tls) in served.tls().iter().enumerate() {
                let field = format!("spec.tls[{index}]");
                let secret = tls.secret_name.as_deref().filter(|name| !name.is_empty());
                let secret = secret.map(|name| ResourceName::new(&served.name.namespace, name));
                for host in served.hosts_of(tls) {
                    if let Some(owner) = owners.get(&host) {
                        let is_own = owner.ingress == served.name;
                        if owner.secret != secret && !(is_own && tls.hosts.is_none()) {
                            let reason = match is_own {
                                true => format!("{host} stands twice"),
                                false => format!(
                                    "{host} is served with the certificate of Ingress {}, which is older",
                                    owner.ingress
                                ),
                            };
                            self.warn(served, &field, reason, None);
                        }
                        continue;
                    }
                    let owner = Owner {
                        ingress: served.name.clone(),
                        secret: secret.clone(),
                    };
                    owners.insert(host.clone(), owner);
                    let Some(secret) = &secret else {
                        of_default.push(host);
                        continue;
                    };
                    if !hosts_of.contains_key(secret) {
                        let field = format!("{field}.secretName");
                        order.push((secret.clone(), served.name.clone(), field));
                    }
                    hosts_of.entry(secret.clone()).or_default().push(host);
                }
            }
        }
        self.default_certificate(of_default);
        for (secret, ingress, field) in order {
            let hosts = hosts_of.remove(&secret).unwrap_or_default();
            let index = self.read.document.certificates.len();
            let origin = super::place_of_ingress(&ingress, &field);
            self.origin(format!("certificates[{index}]"), origin);
            self.read.document.certificates.push(Certificate {
                name: secret.to_string(),
                certificate: Contents::path(&secret.namespace, &secret.name, CERTIFICATE),
                key: Contents::path(&secret.namespace, &secret.name, KEY),
                ocsp: None,
                hosts,
            });
            self.hold(&secret);
        }
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
        self.origin(format!("certificates[{index}]"), origin);
        self.read.document.certificates.push(Certificate {
            name: DEFAULT.to_owned(),
            certificate: Contents::path(&secret.namespace, &secret.name, CERTIFICATE),
            key: Contents::path(&secret.namespace, &secret.name, KEY),
            ocsp: None,
            hosts,
        });
    }

    /// Lets the keys of a Secret be read.
    fn hold(&mut self, name: &ResourceName) {
        if let Some(secret) = self.objects.secrets.get(name) {
            let keys = Arc::new(SecretKeys(Arc::clone(secret)));
            self.contents.insert(&name.namespace, &name.name, keys);
        }
    }
}
