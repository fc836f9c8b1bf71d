//! `spec.parameters` of IngressClasses: policies for all Ingresses of a class, from a ConfigMap.
//!
//! They hold what the owner of the class wants of its requests. So where they cannot be read the
//! Ingresses of the class get 503: without an access list that was meant they must not be served.

use std::sync::Arc;

use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::IngressClass};
use portcullis_config::{
    document::{Policies, RouteWaf},
    problem::{Origin, Problem, Severity},
    read::{PoliciesRead, read_policies},
};

use super::{Translation, ingress_class::Classes, served::Served};
use crate::kube::{ResourceName, objects::place, settings::documents};

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

/// The policies of a ConfigMap, where they stand, and what else is to be told.
///
/// # Errors
/// Everything that is wrong.
pub(in crate::kube) fn policies(
    config_map: &ConfigMap,
) -> Result<(Policies, Origin, Vec<Problem>), Vec<Problem>> {
    let name = ResourceName::of(&config_map.metadata);
    let problem = |reason: &str| vec![Problem::error(place::<ConfigMap>(&name, ""), "", reason)];
    let placed = |problems: Vec<Problem>| -> Vec<Problem> {
        let placed = problems.into_iter().map(|problem| Problem {
            origin: within(&name, problem.origin),
            ..problem
        });
        placed.collect()
    };
    let documents = documents(&name, config_map).map_err(placed)?;
    let PoliciesRead {
        policies,
        origin,
        problems,
    } = read_policies(&documents);
    let origin = within(&name, origin);
    let problems = placed(problems);
    let has_error = problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    match policies {
        // Rules are compiled after the objects were judged, and then for each route anew.
        Some(policies) if policies.waf.as_ref().is_some_and(is_tuned) => {
            let reason = "`waf` of a class has `profile` and `mode`, and nothing else";
            let problem = Problem::error(origin, "", reason);
            Err(vec![problem.with_hint(Some(
                "make a profile for the class in the settings",
            ))])
        }
        Some(policies) => Ok((policies, origin, problems)),
        None if has_error => Err(problems),
        // Emptied by mistake, most likely; `policies: {}` says that there are none.
        None => Err(problem("it says no `policies`")),
    }
}

/// A place in a key of a ConfigMap as a field of that object: what is wrong there hurts the
/// class alone, where an error of a file has everything refused.
fn within(name: &ResourceName, origin: Origin) -> Origin {
    let Origin::File { file, line, column } = origin else {
        return place::<ConfigMap>(name, "");
    };
    let key = file.rsplit('/').next().unwrap_or_default();
    let field = match line {
        0 => key.to_owned(),
        _ => format!("{key}:{line}:{column}"),
    };
    place::<ConfigMap>(name, &field)
}

/// Whether it has rules other than its profile.
fn is_tuned(waf: &RouteWaf) -> bool {
    let plain = RouteWaf {
        profile: waf.profile.clone(),
        mode: waf.mode,
        ..RouteWaf::default()
    };
    *waf != plain
}

impl<'o> Translation<'o> {
    /// Reads the parameters of our classes.
    pub(super) fn read_parameters(&mut self) {
        for (class, object) in Classes::of(self.objects, self.options).ours() {
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
        let reason = match self.objects.config_maps.get(name) {
            Some(config_map) => match policies(config_map) {
                Ok((policies, origin, problems)) => {
                    self.read.problems.extend(problems);
                    return Parameters::Said(Arc::new((policies, origin)));
                }
                Err(problems) => {
                    self.read.problems.extend(problems);
                    format!("ConfigMap {name} has errors")
                }
            },
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
        let class = served.class?;
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
