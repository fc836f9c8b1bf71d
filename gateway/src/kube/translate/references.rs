//! What objects refer to, and which of the Secrets are read where not all can be.

use std::collections::{HashMap, HashSet};

use super::{
    ingress_class::Classes,
    parameters,
    served::{self, Served},
};
use crate::kube::{ObjectSet, Options, ResourceName};

/// Everything that objects refer to.
#[derive(Debug, Default)]
pub struct References {
    /// The Secrets.
    pub secrets: NeededSecrets,
    /// The Services: what becomes of others changes nothing.
    pub services: HashSet<ResourceName>,
    /// The ConfigMaps of our classes.
    pub config_maps: HashSet<ResourceName>,
}

/// Finds everything that objects refer to, with so many Secrets of Ingresses.
pub fn references(objects: &ObjectSet, options: &Options, most: usize) -> References {
    let ingresses = served::served(objects, options);
    let services = ingresses.iter().flat_map(|served| {
        let services = served.services();
        services.map(|service| ResourceName::new(&served.name.namespace, service))
    });
    References {
        services: services.collect(),
        secrets: within(most, named(&ingresses), options),
        config_maps: referenced_config_maps(objects, options),
    }
}

/// The Secrets that are read, and those that are not since there are too many.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NeededSecrets {
    /// Those that are read.
    pub read: HashSet<ResourceName>,
    /// Those that objects refer to and that are not read.
    pub over: HashSet<ResourceName>,
}

/// The names of the Secrets that objects refer to: no other is read.
pub fn referenced_secrets(objects: &ObjectSet, options: &Options) -> HashSet<ResourceName> {
    let named = named(&served::served(objects, options)).into_iter();
    named.chain(options.default_certificate.clone()).collect()
}

/// Which of the Secrets that objects refer to are read, where it may be so many, besides that of
/// the options.
///
/// Namespaces take turns, each with the Secrets of its oldest Ingresses first, and of one turn the
/// oldest Ingress comes first. So who names many takes nothing from who names few, however old his
/// Ingresses are; and who is new in a namespace takes nothing from the others there.
fn within(most: usize, mut named: Vec<ResourceName>, options: &Options) -> NeededSecrets {
    let mut over = HashSet::new();
    if named.len() > most {
        let mut of_namespace: HashMap<String, usize> = HashMap::new();
        let turns = named.into_iter().map(|name| {
            let turn = of_namespace.entry(name.namespace.clone()).or_default();
            *turn += 1;
            (*turn, name)
        });
        let mut turns: Vec<(usize, ResourceName)> = turns.collect();
        // Of one turn they stay in the order of their Ingresses.
        turns.sort_by_key(|(turn, _)| *turn);
        named = turns.into_iter().map(|(_, name)| name).collect();
        over = named.split_off(most).into_iter().collect();
    }
    let default = options.default_certificate.clone();
    if let Some(default) = &default {
        over.remove(default);
    }
    NeededSecrets {
        read: named.into_iter().chain(default).collect(),
        over,
    }
}

/// The names of the ConfigMaps that our classes refer to.
pub fn referenced_config_maps(objects: &ObjectSet, options: &Options) -> HashSet<ResourceName> {
    let classes = Classes::of(objects, options);
    let named = classes.ours().map(|(_, class)| parameters::named(class));
    named.filter_map(|named| named.ok().flatten()).collect()
}

/// The Secrets of Ingresses, each once, those of the oldest first.
fn named(ingresses: &[Served<'_>]) -> Vec<ResourceName> {
    let mut known = HashSet::new();
    let named = ingresses.iter().flat_map(|served| {
        served.tls().iter().filter_map(|tls| {
            let name = tls.secret_name.as_deref().filter(|name| !name.is_empty())?;
            Some(ResourceName::new(&served.name.namespace, name))
        })
    });
    named.filter(|name| known.insert(name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    /// Ingresses: their namespace, the day they were made, and their Secrets.
    fn objects(ingresses: &[(&str, u32, &[&str])]) -> ObjectSet {
        let mut objects = ObjectSet::default();
        for (namespace, day, secrets) in ingresses {
            let name = format!("made-{day}");
            let tls: Vec<_> = secrets
                .iter()
                .map(|secret| json!({ "secretName": secret }))
                .collect();
            let value = json!({
                "metadata": {
                    "namespace": namespace, "name": name,
                    "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z"),
                },
                "spec": { "tls": tls },
            });
            let ingress = serde_json::from_value(value).expect("an Ingress");
            let name = ResourceName::new(namespace, &name);
            objects.ingresses.insert(name, Arc::new(ingress));
        }
        objects
    }

    fn over(ingresses: &[(&str, u32, &[&str])], most: usize) -> Vec<String> {
        let options = Options {
            any_class: true,
            default_certificate: Some(ResourceName::new("edge", "default")),
            ..Options::default()
        };
        let objects = objects(ingresses);
        let needed = references(&objects, &options, most).secrets;
        let all: HashSet<_> = needed.read.union(&needed.over).cloned().collect();
        assert_eq!(all, referenced_secrets(&objects, &options));
        assert!(needed.read.contains(&ResourceName::new("edge", "default")));
        let mut over: Vec<_> = needed.over.iter().map(ToString::to_string).collect();
        over.sort();
        over
    }

    #[test]
    fn in_a_namespace_the_oldest_ingresses_come_first() {
        let ingresses: &[(&str, u32, &[&str])] = &[
            ("a", 2, &["two", "one"]),
            ("a", 1, &["one", "zero", ""]),
            ("a", 3, &["three"]),
        ];
        assert!(over(ingresses, 4).is_empty(), "each counts once");
        assert_eq!(over(ingresses, 3), ["a/three"]);
        assert_eq!(over(ingresses, 2), ["a/three", "a/two"]);
        assert_eq!(over(ingresses, 0).len(), 4);
    }

    #[test]
    fn who_names_many_takes_nothing_from_who_names_few() {
        let ingresses: &[(&str, u32, &[&str])] = &[
            ("many", 1, &["a", "b", "c", "d", "e"]),
            ("few", 8, &["x"]),
            ("some", 9, &["y", "z"]),
        ];
        assert_eq!(over(ingresses, 6), ["many/d", "many/e"]);
        // Of one turn the oldest comes first.
        assert_eq!(over(ingresses, 4), ["many/c", "many/d", "many/e", "some/z"]);
        assert_eq!(over(ingresses, 8), [""; 0]);
    }

    #[test]
    fn that_of_the_options_is_always_read() {
        let ingresses: &[(&str, u32, &[&str])] = &[("edge", 1, &["first", "default"])];
        assert_eq!(over(ingresses, 1), [""; 0]);
    }
}
