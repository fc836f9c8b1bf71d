//! The objects that are served, as they are at one time.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use k8s_openapi::{
    Resource,
    api::{
        core::v1::{ConfigMap, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    class_parameters::ClassParameters,
    egress_policy::{ClusterEgressPolicyObject, EgressPolicyObject},
};
use crate::files::Keys;
use portcullis_config::problem::Origin;

/// Namespace and name of an object; the namespace of what has none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ResourceName {
    /// Of an object.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Of a name in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

impl FromStr for ResourceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self::new(namespace, name))
            }
            _ => Err(format!("{text:?} is not NAMESPACE/NAME")),
        }
    }
}

/// The objects of one kind.
pub type Kind<K> = BTreeMap<ResourceName, Arc<K>>;

/// Every object that is served, or that one of them refers to.
#[derive(Clone, Debug, Default)]
pub struct ObjectSet {
    /// `networking.k8s.io/v1` Ingress, of any class.
    pub ingresses: Kind<Ingress>,
    /// `networking.k8s.io/v1` IngressClass.
    pub ingress_classes: Kind<IngressClass>,
    /// IngressClasses that were the default one and are gone, or have another version now, as they
    /// were then and as long as the process knows: their parameters may have held for Ingresses
    /// that name no class.
    pub gone_defaults: Kind<IngressClass>,
    /// `v1` Service.
    pub services: Kind<Service>,
    /// `discovery.k8s.io/v1` EndpointSlice.
    pub endpoint_slices: Kind<EndpointSlice>,
    /// `portcullis.dev/v1alpha1` EgressPolicy.
    pub egress_policies: Kind<EgressPolicyObject>,
    /// `portcullis.dev/v1alpha1` ClusterEgressPolicy.
    pub cluster_egress_policies: Kind<ClusterEgressPolicyObject>,
    /// `v1` Secret, those that are referred to.
    pub secrets: Kind<Secret>,
    /// `v1` ConfigMap, those that are referred to.
    pub config_maps: Kind<ConfigMap>,
    /// What of those is known as parameters of a class; others are read when they are asked for.
    pub class_parameters: BTreeMap<ResourceName, Arc<ClassParameters>>,
    /// ConfigMaps that are referred to and could not be read: why.
    pub unreadable_config_maps: BTreeMap<ResourceName, String>,
}

/// What a Secret holds is the content of files.
impl Keys for Secret {
    fn get(&self, key: &str) -> Option<&[u8]> {
        let binary = self.data.as_ref().and_then(|data| data.get(key));
        let plain = || self.string_data.as_ref().and_then(|data| data.get(key));
        binary
            .map(|bytes| bytes.0.as_slice())
            .or_else(|| plain().map(String::as_bytes))
    }
}

/// The place of a field of an object.
pub(super) fn place<K: Resource>(name: &ResourceName, field: &str) -> Origin {
    Origin::Object {
        kind: K::KIND.to_owned(),
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        field: field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_namespace() {
        assert_eq!("a/b".parse(), Ok(ResourceName::new("a", "b")));
        for wrong in ["a", "", "/b", "a/", "a/b/c"] {
            assert!(wrong.parse::<ResourceName>().is_err(), "{wrong}");
        }
        assert_eq!(ResourceName::new("a", "b").to_string(), "a/b");
        assert_eq!(ResourceName::new("", "b").to_string(), "b");
    }
}
