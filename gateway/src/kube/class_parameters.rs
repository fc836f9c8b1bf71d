//! What a ConfigMap says as parameters of a class: read once, when it comes, and shared by whoever
//! asks.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_config::{
    document::{Document, Policies, RouteWaf},
    problem::{Origin, Problem, Severity},
    read::{Origins, PoliciesRead, read_policies},
    validate::validate,
};

use super::{
    ObjectSet, ResourceName,
    objects::place,
    setting_names::{SettingNames, without_names},
    settings::documents,
};

/// Parameters of a class.
#[derive(Debug)]
pub struct ClassParameters {
    /// Policies of the routes of its Ingresses, and where they stand; none where something is
    /// wrong with them.
    said: Option<Arc<(Policies, Origin)>>,
    problems: Vec<Problem>,
}

impl ClassParameters {
    /// Reads them.
    pub(super) fn read(config_map: &ConfigMap) -> Self {
        match policies(config_map) {
            Ok((policies, origin, problems)) => Self {
                said: Some(Arc::new((policies, origin))),
                problems,
            },
            Err(problems) => Self {
                said: None,
                problems,
            },
        }
    }

    /// Those of a ConfigMap among objects; it is read here where nobody has before.
    pub(super) fn of(objects: &ObjectSet, name: &ResourceName) -> Option<Arc<Self>> {
        let config_map = objects.config_maps.get(name)?;
        let known = objects.class_parameters.get(name).cloned();
        Some(known.unwrap_or_else(|| Arc::new(Self::read(config_map))))
    }

    /// The policies, and where they stand; none where something is wrong with them.
    pub(super) fn said(&self) -> Option<&Arc<(Policies, Origin)>> {
        self.said.as_ref()
    }

    /// What is to be told of them.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Why they cannot be served, with the names of some settings where these are known.
    pub(super) fn fault(&self, names: Option<&SettingNames>) -> Option<String> {
        let Some(said) = &self.said else {
            let mut errors = self.problems.iter();
            let first = errors.find(|problem| problem.severity == Severity::Error);
            return Some(first.map(ToString::to_string).unwrap_or_default());
        };
        let missing = names?.missing(&said.0).into_iter().next()?;
        let (place, key) = (&said.1, missing.key);
        Some(format!(
            "{place}: policies.{key}: {missing} in the settings"
        ))
    }
}

/// The policies of a ConfigMap, where they stand, and what else is to be told.
///
/// # Errors
/// Everything that is wrong.
fn policies(config_map: &ConfigMap) -> Result<(Policies, Origin, Vec<Problem>), Vec<Problem>> {
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
        Some(policies) => match faults(&policies, &origin) {
            faults if faults.is_empty() => Ok((policies, origin, problems)),
            faults => Err([problems, faults].concat()),
        },
        None if has_error => Err(problems),
        // Emptied by mistake, most likely; `policies: {}` says that there are none.
        None => Err(problem("it says no `policies`")),
    }
}

/// What is wrong with their values, whatever they name: a route with them would get 503.
fn faults(policies: &Policies, origin: &Origin) -> Vec<Problem> {
    let document = Document {
        defaults: Some(without_names(policies)),
        ..Document::default()
    };
    let problems = validate(&document, &Origins::default()).problems;
    let faults = problems.into_iter().filter_map(|problem| {
        let path = problem.path.strip_prefix("defaults")?;
        (problem.severity == Severity::Error).then(|| Problem {
            // Of an object paths are not shown.
            reason: format!("policies{path}: {}", problem.reason),
            origin: origin.clone(),
            ..problem.clone()
        })
    });
    faults.collect()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(text: &str) -> Option<String> {
        let value = json!({
            "metadata": { "namespace": "gw", "name": "limits" },
            "data": { "policies.yaml": text },
        });
        let config_map = serde_json::from_value(value).expect("a ConfigMap");
        let document = Document {
            access_lists: serde_json::from_value(json!([{ "name": "office" }])).expect("lists"),
            ..Document::default()
        };
        let names = SettingNames::of(&document);
        ClassParameters::read(&config_map).fault(Some(&names))
    }

    #[test]
    fn shapes_values_and_names_are_judged() {
        assert_eq!(fault("policies: {access: [office]}"), None);
        for (text, told) in [
            ("policies: {acess: [office]}", "acess"),
            (
                "policies: {retries: {attempts: 99}}",
                "policies.retries.attempts",
            ),
            (
                "policies: {cors: {allowOrigins: ['%']}}",
                "policies.cors.allowOrigins[0]",
            ),
            (
                "policies: {waf: {mode: detect, threshold: 9}}",
                "`profile` and `mode`",
            ),
            (
                "policies: {access: [office, ofice]}",
                "ConfigMap/gw/limits policies.yaml:1:1: policies.access: there is no access list \"ofice\" in the settings",
            ),
        ] {
            let fault = fault(text).unwrap_or_default();
            assert!(fault.contains(told), "{text}: {fault}");
        }
    }
}
