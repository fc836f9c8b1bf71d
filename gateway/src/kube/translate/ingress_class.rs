//! IngressClasses: which Ingresses are served.

use std::{cmp::Reverse, collections::BTreeMap};

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use portcullis_config::problem::Severity;

use super::parameters;
use crate::kube::{Kind, ObjectSet, Options};

/// Marks the class of Ingresses that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// How Ingresses named their class before there were objects for them.
const CLASS: &str = "kubernetes.io/ingress.class";

/// The classes that are served.
#[derive(Debug)]
pub(super) struct Classes<'o> {
    ours: BTreeMap<&'o str, &'o IngressClass>,
    /// The class of Ingresses that name none.
    default: Option<&'o str>,
    /// Classes of ours that were the default one, as they were then.
    gone: Vec<(&'o str, &'o IngressClass)>,
    /// Whether Ingresses without a class are served.
    without: bool,
    any: bool,
}

impl<'o> Classes<'o> {
    pub(super) fn of(objects: &'o ObjectSet, options: &Options) -> Self {
        let controller = Some(options.controller.as_str());
        let of_ours = |classes: &'o Kind<IngressClass>| {
            let ours = classes.iter().filter(|(_, class)| {
                let spec = class.spec.as_ref();
                spec.and_then(|spec| spec.controller.as_deref()) == controller
            });
            ours.map(|(name, class)| (name.name.as_str(), &**class))
        };
        let ours: BTreeMap<&str, &IngressClass> = of_ours(&objects.ingress_classes).collect();
        let gone = of_ours(&objects.gone_defaults).collect();
        let defaults = ours.iter().filter(|(_, class)| is_default(class));
        // Of several the newest, as the API server gives it to new Ingresses.
        let default = defaults.max_by_key(|(name, class)| {
            let created = class.metadata.creation_timestamp.as_ref();
            (created.map(|time| time.0), Reverse(**name))
        });
        let default = default.map(|(name, _)| *name);
        Self {
            default,
            without: options.without_class || default.is_some(),
            any: options.any_class,
            gone,
            ours,
        }
    }

    /// The class whose parameters may be meant for Ingresses that name none: while no class is
    /// the default one it cannot be told. An access list that held for them until a mark was
    /// taken away, or a class, must go on to.
    pub(super) fn unclear(&self) -> Option<&'o str> {
        let has_parameters = |class: &IngressClass| match parameters::named(class) {
            Ok(named) => named.is_some(),
            // A warning is of those that are of another controller.
            Err(problem) => problem.severity == Severity::Error,
        };
        let mut known = self.ours().chain(self.gone.iter().copied());
        let found = known.find(|(_, class)| has_parameters(class));
        found
            .filter(|_| self.default.is_none())
            .map(|(name, _)| name)
    }

    /// Our classes, by name.
    pub(super) fn ours(&self) -> impl Iterator<Item = (&'o str, &'o IngressClass)> {
        self.ours.iter().map(|(name, class)| (*name, *class))
    }

    /// Whether an Ingress is served.
    pub(super) fn have(&self, ingress: &Ingress) -> bool {
        match said(ingress) {
            _ if self.any => true,
            Some(class) => self.ours.contains_key(class),
            None => self.without,
        }
    }

    /// The class of ours that an Ingress is of.
    pub(super) fn name_of(&self, ingress: &Ingress) -> Option<&'o str> {
        match said(ingress) {
            Some(class) => self.ours.get_key_value(class).map(|(name, _)| *name),
            None => self.default,
        }
    }
}

/// Whether a class is marked as that of Ingresses that name none.
pub(in crate::kube) fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    let mark = annotations.and_then(|known| known.get(DEFAULT_CLASS));
    mark.is_some_and(|mark| mark == "true")
}

/// The class that an Ingress names. The field goes first, as the API says
/// (IngressSpec.ingressClassName).
fn said(ingress: &Ingress) -> Option<&str> {
    let spec = ingress.spec.as_ref();
    let annotations = ingress.metadata.annotations.as_ref();
    let annotation = || annotations?.get(CLASS).map(String::as_str);
    let class = spec.and_then(|spec| spec.ingress_class_name.as_deref());
    class.or_else(annotation)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::kube::ResourceName;

    fn class(name: &str, mark: &str, parameters: bool) -> (ResourceName, Arc<IngressClass>) {
        let mut class = json!({
            "metadata": { "name": name, "annotations": { DEFAULT_CLASS: mark } },
            "spec": { "controller": Options::CONTROLLER },
        });
        if parameters {
            class["spec"]["parameters"] = json!({
                "kind": "ConfigMap", "scope": "Namespace", "namespace": "gw", "name": name,
            });
        }
        let class = serde_json::from_value(class).expect("a class");
        (ResourceName::new("", name), Arc::new(class))
    }

    #[test]
    fn ingresses_without_a_class_are_not_opened_by_an_edit_of_one() {
        let options = Options {
            without_class: true,
            ..Options::default()
        };
        let unclear = |known: &[(&str, &str, bool)], gone: &[(&str, &str, bool)]| {
            let all = |classes: &[(&str, &str, bool)]| {
                let classes = classes.iter();
                classes
                    .map(|(name, mark, has)| class(name, mark, *has))
                    .collect()
            };
            let objects = ObjectSet {
                ingress_classes: all(known),
                gone_defaults: all(gone),
                ..ObjectSet::default()
            };
            Classes::of(&objects, &options).unclear().map(str::to_owned)
        };
        let (listed, plain) = (("listed", "true", true), ("plain", "true", false));
        assert_eq!(unclear(&[listed], &[]), None, "they have its parameters");
        let unmarked = ("listed", "false", true);
        assert_eq!(unclear(&[unmarked], &[]).as_deref(), Some("listed"));
        assert_eq!(unclear(&[], &[listed]).as_deref(), Some("listed"));
        // Somebody has said which are meant.
        assert_eq!(unclear(&[plain, unmarked], &[]), None);
        assert_eq!(unclear(&[plain], &[listed]), None);
        // It is back, without parameters: nobody has said yet that these are meant to be gone.
        let bare = ("listed", "false", false);
        assert_eq!(unclear(&[bare], &[listed]).as_deref(), Some("listed"));
        assert_eq!(unclear(&[("listed", "true", false)], &[listed]), None);
        assert_eq!(unclear(&[], &[plain]), None, "it had none");
    }
}
