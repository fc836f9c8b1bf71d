//! Whether an Ingress or a policy of the egress proxy could be served, before the API server takes
//! it.
//!
//! Only that object is judged, with the Services and Secrets that it names, so that the time does
//! not grow with the number of objects. So what depends on others is not refused: a host and path
//! that an older Ingress has, and Services that may come later.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::{
    core::v1::ConfigMap,
    networking::v1::{Ingress, IngressBackend},
};
use portcullis_config::{
    document::Egress,
    problem::{Category, Origin, Problem, Severity},
    read::{Read, read},
    validate::validate,
};
use serde_json::Value;

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject, ObjectSet, Options, ResourceName,
    egress_policy::{self, PolicyObject},
    review::{Review, Verdict},
    settings,
    translate::{served_ingresses, translate},
    watched::Listed,
};

/// The settings, read once and not for each question.
#[derive(Debug, Default)]
pub(super) struct KnownSettings(Mutex<Option<(ConfigMaps, Arc<Read>)>>);

/// The ConfigMaps that are named for the settings, as far as they are there.
type ConfigMaps = Vec<Option<Arc<ConfigMap>>>;

impl KnownSettings {
    /// As they are now, without what has nothing to do with Ingresses. Where they cannot be had
    /// there are none: they are told of by themselves, and an Ingress is judged all the same.
    fn read(&self, objects: &ObjectSet, options: &Options) -> Arc<Read> {
        let named = options.config_maps.iter();
        let config_maps: ConfigMaps = named
            .map(|name| objects.config_maps.get(name).cloned())
            .collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, read)) = &*known
            && are_same(of, &config_maps)
        {
            return Arc::clone(read);
        }
        let settings = settings::settings(objects, options).unwrap_or_default();
        let mut made = read(&settings.documents);
        made.document.egress = None;
        made.problems.clear();
        let made = Arc::new(made);
        *known = Some((config_maps, Arc::clone(&made)));
        made
    }
}

/// Whether two lists have the very same ConfigMaps.
fn are_same(one: &[Option<Arc<ConfigMap>>], other: &[Option<Arc<ConfigMap>>]) -> bool {
    let place = |known: &Option<Arc<ConfigMap>>| known.as_ref().map(Arc::as_ptr);
    one.iter().map(place).eq(other.iter().map(place))
}

/// The answer to a question.
pub(super) fn answer(
    review: &Review,
    objects: &ObjectSet,
    options: &Options,
    known: &KnownSettings,
    egress: Option<&Egress>,
) -> Value {
    judge_review(review, objects, options, known, egress).into_answer(review.uid())
}

fn judge_review(
    review: &Review,
    objects: &ObjectSet,
    options: &Options,
    known: &KnownSettings,
    egress: Option<&Egress>,
) -> Verdict {
    if !review.is_written() {
        return Verdict::default();
    }
    let judged = if review.is::<Ingress>() {
        review
            .named_object()
            .map(|ingress| judge(ingress, objects, options, known))
    } else if review.is::<EgressPolicyObject>() {
        judge_policy::<EgressPolicyObject>(review, egress)
    } else if review.is::<ClusterEgressPolicyObject>() {
        judge_policy::<ClusterEgressPolicyObject>(review, egress)
    } else {
        return Verdict::default();
    };
    judged.unwrap_or_else(Verdict::refused)
}

/// Judges a policy of the egress proxy, beside the settings that are in force. What is not changed
/// is not refused: its labels may be, and it may go.
///
/// # Errors
/// Why it cannot be read.
fn judge_policy<K: PolicyObject>(
    review: &Review,
    section: Option<&Egress>,
) -> Result<Verdict, String> {
    let policy: K = review.named_object()?;
    let name = ResourceName::of(policy.metadata());
    let Some(section) = section else {
        let told = "no egress proxy is in force here: nobody has looked at this policy";
        return Ok(Verdict::warned(told.to_owned()));
    };
    let errors = egress_policy::judge(&name, &policy, section).err();
    let told: Vec<String> = errors.iter().flatten().map(ToString::to_string).collect();
    let goes = policy.metadata().deletion_timestamp.is_some();
    let is_kept = || {
        goes || review
            .old_spec()
            .is_some_and(|before| before == *policy.spec())
    };
    let (errors, warnings) = match !told.is_empty() && is_kept() {
        true => (Vec::new(), told),
        false => (told, Vec::new()),
    };
    Ok(Verdict {
        errors,
        warnings,
        ..Verdict::default()
    })
}

/// Judges an Ingress with what it names.
fn judge(
    ingress: Ingress,
    objects: &ObjectSet,
    options: &Options,
    known: &KnownSettings,
) -> Verdict {
    let name = ResourceName::of(&ingress.metadata);
    let named = named_services(&ingress, &name.namespace);
    let mut alone = ObjectSet {
        ingress_classes: objects.ingress_classes.clone(),
        gone_defaults: objects.gone_defaults.clone(),
        config_maps: objects.config_maps.clone(),
        class_parameters: objects.class_parameters.clone(),
        unreadable_config_maps: objects.unreadable_config_maps.clone(),
        ..ObjectSet::default()
    };
    for service in named {
        if let Some(known) = objects.services.get(&service) {
            alone.services.insert(service, Arc::clone(known));
        }
    }
    alone.ingresses.insert(name.clone(), Arc::new(ingress));
    if served_ingresses(&alone, options).is_empty() {
        return Verdict::default();
    }
    let mut read = Read::clone(&known.read(&alone, options));
    translate(&alone, options, &mut read);
    let validated = validate(&read.document, &read.origins);
    let mut verdict = Verdict::default();
    let problems = read.problems.into_iter().chain(validated.problems);
    for problem in problems.filter(|problem| is_of(problem, &name)) {
        // A Service may come later.
        let is_refused =
            problem.severity == Severity::Error && problem.category != Category::ServiceNotFound;
        match is_refused {
            true => verdict.errors.push(problem.to_string()),
            false => verdict.warnings.push(problem.to_string()),
        }
    }
    verdict
}

fn is_of(problem: &Problem, ingress: &ResourceName) -> bool {
    match &problem.origin {
        Origin::Object {
            kind,
            namespace,
            name,
            ..
        } => *kind == Ingress::NAME && *namespace == ingress.namespace && *name == ingress.name,
        Origin::File { .. } | Origin::Internal => false,
    }
}

fn named_services(ingress: &Ingress, namespace: &str) -> Vec<ResourceName> {
    let Some(spec) = &ingress.spec else {
        return Vec::new();
    };
    let of_paths = spec
        .rules
        .iter()
        .flatten()
        .filter_map(|rule| rule.http.as_ref())
        .flat_map(|http| &http.paths)
        .map(|path| &path.backend);
    let backends = of_paths.chain(&spec.default_backend);
    let name = |backend: &IngressBackend| {
        let service = backend.service.as_ref()?;
        Some(ResourceName::new(namespace, &service.name))
    };
    backends.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options() -> Options {
        Options {
            without_class: true,
            ..Options::default()
        }
    }

    fn review(operation: &str, object: Value) -> Review {
        let value = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1",
            "kind": { "group": "networking.k8s.io", "version": "v1", "kind": "Ingress" },
            "namespace": "shop", "operation": operation, "object": object,
        } });
        Review::read(value.to_string().into()).expect("a review")
    }

    fn ingress(backend: Value) -> Value {
        json!({
            "metadata": { "name": "web" },
            "spec": { "rules": [{ "host": "a.test", "http": { "paths": [
                { "path": "/", "pathType": "Prefix", "backend": backend },
            ] } }] },
        })
    }

    #[test]
    fn what_cannot_be_served_is_refused_as_check_says_it() {
        let resource = json!({ "resource": { "kind": "Bucket", "name": "b" } });
        let objects = ObjectSet::default();
        let answer = answer(
            &review("CREATE", ingress(resource.clone())),
            &objects,
            &options(),
            &KnownSettings::default(),
            None,
        );
        let response = &answer["response"];
        assert_eq!(response["uid"], "u-1");
        assert_eq!(response["allowed"], false);
        assert_eq!(
            response["status"]["message"],
            "Ingress/shop/web spec.rules[0].http.paths[0].backend: error: \
             a resource (Bucket b) cannot be a backend: its requests get 503"
        );
        let deleted = super::answer(
            &review("DELETE", ingress(resource.clone())),
            &objects,
            &options(),
            &KnownSettings::default(),
            None,
        );
        assert_eq!(
            deleted["response"],
            json!({ "uid": "u-1", "allowed": true })
        );
        let others = Options::default();
        let others = super::answer(
            &review("CREATE", ingress(resource)),
            &objects,
            &others,
            &KnownSettings::default(),
            None,
        );
        assert_eq!(others["response"]["allowed"], true, "of no class of ours");
    }

    #[test]
    fn a_service_may_come_later_and_its_author_is_told() {
        let service = json!({ "service": { "name": "web", "port": { "number": 80 } } });
        let objects = ObjectSet::default();
        let answer = answer(
            &review("UPDATE", ingress(service)),
            &objects,
            &options(),
            &KnownSettings::default(),
            None,
        );
        let response = &answer["response"];
        assert_eq!(response["allowed"], true);
        let warnings = response["warnings"].as_array().expect("warnings");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let warning = warnings[0].as_str().unwrap_or_default();
        assert!(
            warning.contains("there is no Service shop/web"),
            "{warning}"
        );
    }

    #[test]
    fn what_is_no_ingress_is_refused_and_never_more_than_that() {
        let objects = ObjectSet::default();
        let broken = json!({ "metadata": { "name": 1 } });
        let answer = answer(
            &review("CREATE", broken),
            &objects,
            &options(),
            &KnownSettings::default(),
            None,
        );
        assert_eq!(answer["response"]["allowed"], false);
    }

    #[test]
    fn policies_of_the_egress_proxy_are_judged_beside_what_is_in_force() {
        let section = |text: &str| -> Egress {
            let read = read(&[portcullis_config::read::SourceFile {
                name: "a.yaml".into(),
                text: text.into(),
            }]);
            read.document.egress.expect("the section")
        };
        let pods =
            section("egress: {listeners: [{name: p}], identity: {level: address, pods: {}}}");
        let bare = section("egress: {listeners: [{name: p}]}");
        let (pods, bare) = (Some(&pods), Some(&bare));
        let asked = |kind: &str, spec: &Value, more: Value, section: Option<&Egress>| {
            let namespace = if kind == "EgressPolicy" { "ci" } else { "" };
            let mut request = json!({
                "uid": "u-1", "namespace": namespace, "operation": "CREATE",
                "kind": { "group": "portcullis.dev", "version": "v1alpha1", "kind": kind },
                "object": { "metadata": { "generateName": "p-" }, "spec": spec },
            });
            let fields = request.as_object_mut().expect("a map");
            fields.extend(more.as_object().cloned().unwrap_or_default());
            let review = json!({ "request": request }).to_string();
            let review = Review::read(review.into()).expect("a review");
            let (objects, known) = (ObjectSet::default(), KnownSettings::default());
            answer(&review, &objects, &options(), &known, section)["response"].clone()
        };
        let (none, kind) = (json!({}), "EgressPolicy");
        let entry = json!({ "allow": [{ "host": "a.test" }] });
        let all = json!({ "allow": [{ "host": "*" }] });
        let allowed = asked(kind, &entry, none.clone(), pods);
        assert_eq!(allowed, json!({ "uid": "u-1", "allowed": true }));
        let refused = asked(kind, &all, none.clone(), pods);
        assert_eq!(
            refused["status"]["message"],
            "EgressPolicy/ci/p- spec.allow[0]: error: `*` allows everything (where that is meant, \
             say `allowAll: true`)"
        );
        // Without identities there are no clients of a namespace.
        assert_eq!(asked(kind, &entry, none.clone(), bare)["allowed"], false);
        let refused = asked("ClusterEgressPolicy", &entry, none.clone(), pods);
        let message = refused["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("ClusterEgressPolicy/p- spec"), "{message}");
        let elsewhere = asked(kind, &all, none.clone(), None);
        assert_eq!(elsewhere["allowed"], true);
        assert!(
            elsewhere["warnings"][0]
                .as_str()
                .is_some_and(|told| told.contains("no egress"))
        );
        assert_eq!(asked("Other", &entry, none, pods)["allowed"], true);
        // What is broken already may be labelled, and may go.
        let update = |before: &Value| {
            let more = json!({ "operation": "UPDATE", "oldObject": { "spec": before } });
            asked(kind, &all, more, pods)
        };
        assert_eq!(update(&entry)["allowed"], false);
        assert_eq!(update(&all)["allowed"], true);
        assert!(update(&all)["warnings"][0].is_string());
        let metadata = json!({ "name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let going = json!({ "object": { "metadata": metadata, "spec": all } });
        assert_eq!(asked(kind, &all, going, pods)["allowed"], true);
    }

    #[test]
    fn settings_are_read_when_they_change_and_missing_ones_hide_nothing() {
        let known = KnownSettings::default();
        let options = Options {
            config_maps: ["gw/settings".parse().expect("a name")].into(),
            ..options()
        };
        let mut objects = ObjectSet::default();
        let resource = json!({ "resource": { "kind": "Bucket", "name": "b" } });
        let refused = answer(
            &review("CREATE", ingress(resource)),
            &objects,
            &options,
            &known,
            None,
        );
        assert_eq!(refused["response"]["allowed"], false, "without settings");
        let mut put = |text: &str| {
            let config_map: ConfigMap = serde_json::from_value(json!({
                "metadata": { "namespace": "gw", "name": "settings" },
                "data": { "a.yaml": text },
            }))
            .expect("a ConfigMap");
            let name = "gw/settings".parse().expect("a name");
            objects.config_maps.insert(name, Arc::new(config_map));
            known.read(&objects, &options)
        };
        let one = put("defaults: {https: optional}");
        let two = put("defaults: {https: required}");
        assert_ne!(one.document.defaults, two.document.defaults);
        assert!(Arc::ptr_eq(&two, &known.read(&objects, &options)));
    }
}
