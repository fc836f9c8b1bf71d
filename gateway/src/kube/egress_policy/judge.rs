//! Whether an object is a policy, by itself and with the settings that it is served with.

use portcullis_config::{
    document::{Document, Egress, EgressPolicy},
    problem::{Origin, Problem, Severity},
    read::{ItemOrigin, Origins, SourceFile, read},
    validate::validate,
};
use serde_json::{Map, Value, json};

use super::PolicyObject;
use crate::kube::ResourceName;

/// Fields of a subject by which a policy of a namespace would be about others.
pub(super) const OF_CLUSTER: [&str; 3] = ["namespace", "spiffeId", "certificateName"];

/// Fields of an entry that files alone have.
pub(super) const OF_FILES: [&str; 2] = ["inject", "waf"];

/// The policy that an object is, beside the settings of `section`, whose policies do not matter.
///
/// # Errors
/// Everything that is wrong, each with its field.
pub(in crate::kube) fn judge<K: PolicyObject>(
    name: &ResourceName,
    object: &K,
    section: &Egress,
) -> Result<EgressPolicy, Vec<Problem>> {
    let Value::Object(spec) = object.spec() else {
        return Err(vec![problem::<K>(name, "spec", "there is no spec")]);
    };
    let mut faults = faults::<K>(name, spec);
    let made = policy::<K>(name, spec.clone(), section);
    let mut policy = match made {
        Ok(policy) if faults.is_empty() => policy,
        Ok(_) => return Err(faults),
        Err(problems) => {
            faults.extend(problems);
            return Err(faults);
        }
    };
    policy.name = K::policy_name(name);
    Ok(policy)
}

/// A policy by which the clients of an object reach nothing; `None` where no client can be
/// one of them.
///
/// Where it cannot be told who they are they are all of its namespace, or everybody.
pub(in crate::kube) fn closed<K: PolicyObject>(
    name: &ResourceName,
    object: &K,
    section: &Egress,
) -> Option<EgressPolicy> {
    let whole = match name.namespace.is_empty() {
        true => json!({ "closed": true, "subjects": [{ "addresses": ["0.0.0.0/0", "::/0"] }] }),
        false => json!({ "closed": true }),
    };
    let said = object.spec().get("subjects");
    let said = said.map(|subjects| json!({ "closed": true, "subjects": subjects }));
    let specs = said.into_iter().chain([whole]);
    let policy = specs.into_iter().find_map(|spec| {
        let spec = spec.as_object()?;
        let has_faults = !faults::<K>(name, spec).is_empty();
        policy::<K>(name, spec.clone(), section)
            .ok()
            .filter(|_| !has_faults)
    });
    policy.map(|policy| EgressPolicy {
        name: K::policy_name(name),
        ..policy
    })
}

/// What files may say and an object may not.
fn faults<K: PolicyObject>(name: &ResourceName, spec: &Map<String, Value>) -> Vec<Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: String, reason: &str, hint: &str| {
        faults.push(problem::<K>(name, &field, reason).with_hint(Some(hint)));
    };
    if spec.contains_key("name") {
        fault(
            "spec.name".into(),
            "a policy has the name of its object",
            "leave it out",
        );
    }
    let is_of_namespace = !name.namespace.is_empty();
    for (index, subject) in list(spec, "subjects").iter().enumerate() {
        for field in OF_CLUSTER.iter().filter(|_| is_of_namespace) {
            if subject.get(field).is_some() {
                fault(
                    format!("spec.subjects[{index}].{field}"),
                    "an EgressPolicy is about ServiceAccounts of its own namespace",
                    "a ClusterEgressPolicy is about any client",
                );
            }
        }
    }
    let delegate = spec.get("delegate").and_then(Value::as_object);
    let lists = [
        ("spec.allow", list(spec, "allow")),
        ("spec.deny", list(spec, "deny")),
        (
            "spec.delegate.allow",
            delegate.map_or(&[][..], |delegate| list(delegate, "allow")),
        ),
    ];
    for (path, entries) in lists {
        for (index, entry) in entries.iter().enumerate() {
            if let Value::String(host) = entry {
                fault(
                    format!("{path}[{index}]"),
                    "an entry of an object is a map",
                    &format!("write `{{host: {host:?}}}`"),
                );
            }
            for field in OF_FILES.iter().filter(|field| entry.get(field).is_some()) {
                fault(
                    format!("{path}[{index}].{field}"),
                    "only the settings of the gateway may have this",
                    "write the policy into the settings",
                );
            }
        }
    }
    faults
}

fn list<'s>(map: &'s Map<String, Value>, field: &str) -> &'s [Value] {
    let list = map.get(field).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// Reads a policy as a file is read, and validates it beside the other settings.
fn policy<K: PolicyObject>(
    name: &ResourceName,
    mut spec: Map<String, Value>,
    section: &Egress,
) -> Result<EgressPolicy, Vec<Problem>> {
    if !name.namespace.is_empty() {
        bind(&mut spec, &name.namespace);
    }
    spec.insert("name".into(), name.name.clone().into());
    let read = read(&[SourceFile {
        name: K::KIND.to_owned(),
        text: json!({ "egress": { K::LIST: [spec] } }).to_string(),
    }]);
    let mut origins = Origins::default();
    origins.note(K::PATH, 0, ItemOrigin::alike(K::place(name, "spec")));
    let placed = read.problems.into_iter().map(|problem| {
        let origin = match origins.locate(&problem.path) {
            Origin::Internal => K::place(name, "spec"),
            origin => origin,
        };
        Problem { origin, ..problem }
    });
    let errors = errors(placed);
    let mut made = read.document.egress.unwrap_or_default();
    let Some(policy) = K::list(&mut made).pop().filter(|_| errors.is_empty()) else {
        return Err(errors);
    };
    let mut section = section.clone();
    (section.policies, section.cluster_policies) = (Vec::new(), Vec::new());
    K::list(&mut section).push(policy.clone());
    let document = Document {
        egress: Some(section),
        ..Document::default()
    };
    // What else is wrong is told where it is written. What is no error is told with the whole.
    let problems = validate(&document, &origins).problems.into_iter();
    let of_object = |problem: &Problem| matches!(problem.origin, Origin::Object { .. });
    match self::errors(problems.filter(of_object)) {
        errors if errors.is_empty() => Ok(policy),
        errors => Err(errors),
    }
}

/// Has the subjects of a policy be those of a namespace: all of it, where it names none.
fn bind(spec: &mut Map<String, Value>, namespace: &str) {
    let subjects = spec
        .entry("subjects")
        .or_insert_with(|| json!([{ "namespace": namespace }]));
    let subjects = subjects.as_array_mut().into_iter().flatten();
    for subject in subjects.filter_map(Value::as_object_mut) {
        subject.insert("namespace".into(), namespace.into());
    }
}

fn errors(problems: impl Iterator<Item = Problem>) -> Vec<Problem> {
    problems
        .filter(|problem| problem.severity == Severity::Error)
        .collect()
}

fn problem<K: PolicyObject>(name: &ResourceName, field: &str, reason: &str) -> Problem {
    Problem::error(K::place(name, field), "", reason)
}

#[cfg(test)]
mod tests;
