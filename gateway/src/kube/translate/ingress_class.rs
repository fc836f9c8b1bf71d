//! IngressClasses: which Ingresses are served.

use std::{cmp::Reverse, collections::BTreeMap};

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use crate::kube::{ObjectSet, Options};

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
    /// Whether Ingresses without a class are served.
    without: bool,
    any: bool,
}

impl<'o> Classes<'o> {
    pub(super) fn of(objects: &'o ObjectSet, options: &Options) -> Self {
        let controller = Some(options.controller.as_str());
        let ours = objects.ingress_classes.iter().filter(|(_, class)| {
            let spec = class.spec.as_ref();
            spec.and_then(|spec| spec.controller.as_deref()) == controller
        });
        let ours: BTreeMap<&str, &IngressClass> = ours
            .map(|(name, class)| (name.name.as_str(), &**class))
            .collect();
        let defaults = ours.iter().filter(|(_, class)| {
            let annotations = class.metadata.annotations.as_ref();
            let mark = annotations.and_then(|known| known.get(DEFAULT_CLASS));
            mark.is_some_and(|mark| mark == "true")
        });
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
            ours,
        }
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

/// The class that an Ingress names. The field goes first, as the API says
/// (IngressSpec.ingressClassName).
fn said(ingress: &Ingress) -> Option<&str> {
    let spec = ingress.spec.as_ref();
    let annotations = ingress.metadata.annotations.as_ref();
    let annotation = || annotations?.get(CLASS).map(String::as_str);
    let class = spec.and_then(|spec| spec.ingress_class_name.as_deref());
    class.or_else(annotation)
}
