//! IngressClasses: which Ingresses are served.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::Ingress;

use crate::kube::{ObjectSet, Options};

/// Marks the class of Ingresses that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// How Ingresses named their class before there were objects for them.
const CLASS: &str = "kubernetes.io/ingress.class";

/// The classes that are served.
#[derive(Debug)]
pub(super) struct Classes<'o> {
    names: BTreeSet<&'o str>,
    /// Whether Ingresses without a class are served.
    without: bool,
    any: bool,
}

impl<'o> Classes<'o> {
    pub(super) fn of(objects: &'o ObjectSet, options: &Options) -> Self {
        let controller = Some(options.controller.as_str());
        let ours = objects.ingress_classes.values().filter(|class| {
            let spec = class.spec.as_ref();
            spec.and_then(|spec| spec.controller.as_deref()) == controller
        });
        let mut names = BTreeSet::new();
        let mut without = options.without_class;
        for class in ours {
            names.extend(class.metadata.name.as_deref());
            let annotations = class.metadata.annotations.as_ref();
            let mark = annotations.and_then(|known| known.get(DEFAULT_CLASS));
            without |= mark.is_some_and(|mark| mark == "true");
        }
        Self {
            names,
            without,
            any: options.any_class,
        }
    }

    /// Whether an Ingress is served.
    pub(super) fn have(&self, ingress: &Ingress) -> bool {
        let spec = ingress.spec.as_ref();
        let annotations = ingress.metadata.annotations.as_ref();
        let annotation = || annotations?.get(CLASS).map(String::as_str);
        let class = spec.and_then(|spec| spec.ingress_class_name.as_deref());
        // The field goes first, as the API says (IngressSpec.ingressClassName).
        match class.or_else(annotation) {
            _ if self.any => true,
            Some(class) => self.names.contains(class),
            None => self.without,
        }
    }
}
