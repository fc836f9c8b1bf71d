//! What is said of objects on the command line.

use std::collections::BTreeSet;

use super::ResourceName;

/// Which objects are served, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// ConfigMaps with settings of the whole gateway, in the order in which they are read.
    pub config_maps: BTreeSet<ResourceName>,
    /// `spec.controller` of the IngressClasses that are served.
    pub controller: String,
    /// Whether Ingresses without a class are served where no class is the default one.
    pub without_class: bool,
    /// Whether Ingresses are served whatever class they name: manifests may have no IngressClass.
    pub any_class: bool,
    /// Secret with the certificate of hosts that have none of their own.
    pub default_certificate: Option<ResourceName>,
    /// Whether Services of type ExternalName are served.
    pub external_names: bool,
    /// Whether endpoints on this machine are served: those of manifests are its owner's.
    pub local_addresses: bool,
    /// Whether a wildcard host of an Ingress stands for several labels, and not for one.
    pub many_labels: bool,
    /// Namespaces that answer challenges of ACME for hosts of others too.
    pub challenge_namespaces: Vec<String>,
    /// The zone that the process runs in, for `hints.forZones` of EndpointSlices.
    pub zone: Option<String>,
}

impl Options {
    /// The controller of our own IngressClass.
    pub const CONTROLLER: &str = "portcullis.dev/ingress-controller";
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config_maps: BTreeSet::new(),
            controller: Self::CONTROLLER.to_owned(),
            without_class: false,
            any_class: false,
            default_certificate: None,
            external_names: false,
            local_addresses: false,
            many_labels: false,
            challenge_namespaces: Vec::new(),
            zone: None,
        }
    }
}
