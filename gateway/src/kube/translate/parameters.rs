//! `spec.parameters` of IngressClasses: policies for all Ingresses of a class, from a ConfigMap.
//!
//! They hold what the owner of the class wants of its requests. So where they cannot be read the
//! Ingresses of the class get 503: without an access list that was meant they must not be served.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::IngressClass;
use portcullis_config::{
    document::Policies,
    problem::{Origin, Problem, Severity},
    read::Origins,
};

use super::{Translation, ingress_class::Classes, served::Served};
use crate::kube::{
    ObjectSet, Options, ResourceName, class_parameters::ClassParameters, objects::place,
    setting_names::SettingNames,
};

/// Groups of kinds that are ours, with those below it.
const OUR_GROUP: &str = "portcullis.dev";

/// What is said in place of requests.
const CLOSED: &str = "the Ingresses of this class get 503";

/// The parameters of a class.
#[derive(Clone, Debug)]
pub(super) enum Parameters {
    /// Policies of the routes of its Ingresses, and where they stand.
    Said(Arc<(Policies, Origin)>),
    /// They are not known.
    Unreadable,
}

/// The ConfigMap that a class names, if any.
///
/// # Errors
/// What it names instead: an error where that was meant for us, and a warning where it is a kind
/// of another controller, whose class we may have adopted.
pub(super) fn named(class: &IngressClass) -> Result<Option<ResourceName>, Box<Problem>> {
    let spec = class.spec.as_ref();
    let Some(wanted) = spec.and_then(|spec| spec.parameters.as_ref()) else {
        return Ok(None);
    };
    let at = |field: &str| {
        let name = ResourceName::of(&class.metadata);
        place::<IngressClass>(&name, &format!("spec.parameters.{field}"))
    };
    let group = wanted.api_group.as_deref().unwrap_or_default();
    let is_ours = group == OUR_GROUP || group.ends_with(&format!(".{OUR_GROUP}"));
    // A ConfigMap is meant for us whatever group was written beside it, and a group without a dot
    // (`v1`, `core`) is that of no kind of another controller.
    let is_foreign = !is_ours && group.contains('.') && wanted.kind != "ConfigMap";
    if is_foreign {
        let reason = format!(
            "{} of {group} is of another controller, and does not hold here",
            wanted.kind
        );
        return Err(Box::new(Problem::warning(at("apiGroup"), "", reason)));
    }
    let wrong = |field: &str, reason: String| {
        let hint =
            "parameters are `{kind: ConfigMap, scope: Namespace, namespace: ..., name: ...}`";
        let reason = format!("{reason}: {CLOSED}");
        let problem = Problem::error(at(field), "", reason).with_hint(Some(hint));
        Err(Box::new(problem))
    };
    if !group.is_empty() && wanted.kind == "ConfigMap" {
        return wrong(
            "apiGroup",
            format!("a ConfigMap is of no apiGroup, and not of {group}"),
        );
    }
    if wanted.kind != "ConfigMap" {
        return wrong(
            "kind",
            format!("there are no parameters of kind {}", wanted.kind),
        );
    }
    if wanted.scope.as_deref() != Some("Namespace") {
        // The API takes no scope for this one.
        return wrong(
            "scope",
            "a ConfigMap is in a namespace, and the scope is Cluster".to_owned(),
        );
    }
    match wanted.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => {
            Ok(Some(ResourceName::new(namespace, &wanted.name)))
        }
        _ => wrong("namespace", "a ConfigMap is in a namespace".to_owned()),
    }
}

/// What settings lack that the parameters of a class name, which are served with other settings:
/// with these the class would be closed.
pub(in crate::kube) fn lost_names(
    objects: &ObjectSet,
    options: &Options,
    (serving, names): (&SettingNames, &SettingNames),
    origins: &Origins,
) -> Vec<Problem> {
    let classes = Classes::of(objects, options);
    let named = classes
        .ours()
        .filter_map(|(class, object)| Some((class, named(object).ok()??)));
    let mut problems = Vec::new();
    for (class, name) in named {
        let parameters = ClassParameters::of(objects, &name);
        let Some(parameters) = parameters.filter(|known| known.fault(Some(serving)).is_none())
        else {
            continue;
        };
        let policies = parameters.said().map(|said| &said.0);
        for missing in policies.map_or_else(Vec::new, |known| names.missing(known)) {
            let reason = format!(
                "{missing}, which ConfigMap {name} names in policies.{} for IngressClass {class}",
                missing.key
            );
            let hint =
                "let the ConfigMap name another, before or after this: both are taken together";
            let origin = settings_place(missing.section, options, origins);
            let problem = Problem::error(origin, missing.section, reason);
            problems.push(problem.with_hint(Some(hint)));
        }
    }
    problems
}

/// Where a section of the settings stands, or else the first of their ConfigMaps.
fn settings_place(section: &str, options: &Options, origins: &Origins) -> Origin {
    match (origins.locate(section), options.config_maps.first()) {
        (Origin::Internal, Some(first)) => Origin::File {
            file: format!("ConfigMap/{first}"),
            line: 0,
            column: 0,
        },
        (origin, _) => origin,
    }
}

impl<'o> Translation<'o> {
    /// Reads the parameters of our classes.
    pub(super) fn read_parameters(&mut self) {
        let classes = Classes::of(self.objects, self.options);
        self.unclear = classes.unclear();
        for (class, object) in classes.ours() {
            let parameters = match named(object) {
                Ok(None) => continue,
                Ok(Some(name)) => self.parameters(object, &name),
                Err(problem) => {
                    let is_foreign = problem.severity == Severity::Warning;
                    self.tell(*problem);
                    if is_foreign {
                        continue;
                    }
                    Parameters::Unreadable
                }
            };
            self.parameters.insert(class, parameters);
        }
    }

    fn parameters(&mut self, class: &IngressClass, name: &ResourceName) -> Parameters {
        let reason = match ClassParameters::of(self.objects, name) {
            Some(known) => {
                self.read.problems.extend_from_slice(known.problems());
                match known.said() {
                    Some(said) => return Parameters::Said(Arc::clone(said)),
                    None => format!("ConfigMap {name} has errors"),
                }
            }
            None => match self.objects.unreadable_config_maps.get(name) {
                Some(reason) => format!("ConfigMap {name} cannot be read: {reason}"),
                None => format!("there is no ConfigMap {name}"),
            },
        };
        let place = place::<IngressClass>(&ResourceName::of(&class.metadata), "spec.parameters");
        self.tell(Problem::error(place, "", format!("{reason}: {CLOSED}")));
        Parameters::Unreadable
    }

    /// The parameters of the class of an Ingress; it is told where they are not known.
    pub(super) fn parameters_of(&mut self, served: &Served<'o>) -> Option<Parameters> {
        let Some(class) = served.class else {
            let class = self.unclear?;
            let reason = format!(
                "no IngressClass is the default one, and the parameters of {class} may be meant \
                 for this: its requests get 503"
            );
            let hint = "name a class here, or mark one as the default";
            let problem = served.warning("spec.ingressClassName", reason);
            self.tell(problem.with_hint(Some(hint)));
            return Some(Parameters::Unreadable);
        };
        let parameters = self.parameters.get(class)?.clone();
        if matches!(parameters, Parameters::Unreadable) {
            // A warning: it is not this Ingress that is wrong, and the webhook lets it in.
            let reason = format!(
                "the parameters of IngressClass {class} cannot be read: its requests get 503"
            );
            self.tell(served.warning("spec.ingressClassName", reason));
        }
        Some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::read::{SourceFile, read};
    use serde_json::json;

    use super::*;

    fn objects(policies: &str) -> ObjectSet {
        let class = json!({
            "metadata": { "name": "internal" },
            "spec": { "controller": Options::CONTROLLER, "parameters": {
                "kind": "ConfigMap", "scope": "Namespace", "namespace": "gw", "name": "limits",
            } },
        });
        let config_map = json!({
            "metadata": { "namespace": "gw", "name": "limits" },
            "data": { "policies.yaml": policies },
        });
        let mut objects = ObjectSet::default();
        let class = serde_json::from_value(class).expect("a class");
        let name = ResourceName::new("", "internal");
        objects.ingress_classes.insert(name, Arc::new(class));
        let config_map = serde_json::from_value(config_map).expect("a ConfigMap");
        let name = ResourceName::new("gw", "limits");
        objects.config_maps.insert(name, Arc::new(config_map));
        objects
    }

    #[test]
    fn settings_may_not_take_away_what_live_parameters_name() {
        let lost = |policies: &str, serving: &str, tried: &str| {
            let made = |text: &str| {
                read(&[SourceFile {
                    name: "ConfigMap/gw/settings/a.yaml".into(),
                    text: text.into(),
                }])
            };
            let (serving, tried) = (made(serving), made(tried));
            let names = [&serving, &tried].map(|made| SettingNames::of(&made.document));
            let options = Options {
                config_maps: ["gw/settings".parse().expect("a name")].into(),
                ..Options::default()
            };
            let objects = objects(policies);
            let lost = lost_names(&objects, &options, (&names[0], &names[1]), &tried.origins);
            assert!(
                lost.iter()
                    .all(|problem| problem.severity == Severity::Error)
            );
            let lost: Vec<_> = lost.iter().map(ToString::to_string).collect();
            lost.join("\n")
        };
        let (office, both) = (
            "accessLists: [{name: office}]",
            "accessLists: [{name: office}, {name: bureau}]",
        );
        let policies = "policies: {access: [office]}";
        assert_eq!(lost(policies, office, both), "");
        let bureau = "# Renamed.\naccessLists: [{name: bureau}]";
        assert_eq!(
            lost(policies, both, bureau),
            "ConfigMap/gw/settings/a.yaml:2:14: error: accessLists: there is no access list \
             \"office\", which ConfigMap gw/limits names in policies.access for IngressClass \
             internal (let the ConfigMap name another, before or after this: both are taken \
             together)"
        );
        assert!(lost(policies, office, "rateLimits: []").starts_with("ConfigMap/gw/settings"));
        // It was not served with those before either.
        assert_eq!(
            lost("policies: {access: [office, none]}", office, bureau),
            ""
        );
        assert_eq!(lost("policies: {acess: [office]}", office, bureau), "");
    }
}
