//! Whether an object is a policy, by itself and with the settings that it is served with.

use std::sync::LazyLock;

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

/// Subjects of an object.
pub(super) const MAX_SUBJECTS: usize = 256;

/// Entries of an object, in all its lists.
pub(crate) const MAX_ENTRIES: usize = 5000;

/// Of these the regular expressions. Each may take a MiB.
const MAX_REGEXES: usize = 16;

/// Length of one.
pub(super) const MAX_REGEX_BYTES: usize = 1024;

/// Entries with a quota, each of which counts by itself.
const MAX_QUOTAS: usize = 64;

/// The policy that an object is, beside the settings of `section`, whose policies do not matter.
///
/// # Errors
/// Everything that is wrong, each with its field.
pub(in crate::kube) fn judge<K: PolicyObject>(
    name: &ResourceName,
    object: &K,
    section: &Egress,
) -> Result<EgressPolicy, Vec<Problem>> {
    let beside: Vec<Problem> = object
        .beside()
        .map(|field| {
            let problem = problem::<K>(name, field, "it is nothing that stands beside `spec`");
            problem.with_hint(Some("did you mean it to stand in `spec`?"))
        })
        .collect();
    if !beside.is_empty() {
        return Err(beside);
    }
    let Value::Object(spec) = object.spec() else {
        return Err(vec![problem::<K>(name, "spec", "there is no spec")]);
    };
    let too_many = too_many::<K>(name, spec);
    if !too_many.is_empty() {
        return Err(too_many);
    }
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

/// What stands in for an object with errors.
#[derive(Debug, Default)]
pub(in crate::kube) struct Closed {
    /// A policy by which the clients of the object reach nothing; `None` where no client can be
    /// one of them.
    pub(in crate::kube) policy: Option<EgressPolicy>,
    /// Whether these settings tell no labels of pods that its subjects name, so that pods without
    /// them reach nothing either.
    pub(in crate::kube) for_any_labels: bool,
}

/// Has the clients of an object reach nothing.
///
/// Where it cannot be told who they are they are all of its namespace, or everybody. A subject of
/// which these settings know no client closes nobody. One of which they know all but the labels of
/// pods closes whom it names without these: its clients are among them.
pub(in crate::kube) fn closed<K: PolicyObject>(
    name: &ResourceName,
    object: &K,
    section: &Egress,
) -> Closed {
    let made = |spec: &Value, section: &Egress| {
        let spec = spec.as_object()?;
        let has_faults = !faults::<K>(name, spec).is_empty();
        let policy = policy::<K>(name, spec.clone(), section).ok();
        policy.filter(|_| !has_faults)
    };
    let subjects = match object.spec().get("subjects") {
        None if !name.namespace.is_empty() => vec![json!({})],
        subjects => subjects
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
    };
    let alone = |subject: &Value| json!({ "closed": true, "subjects": [subject] });
    let mut kept = Vec::new();
    let mut for_any_labels = false;
    let mut is_clear = !subjects.is_empty() && subjects.len() <= MAX_SUBJECTS;
    for subject in subjects.iter().take(MAX_SUBJECTS) {
        if made(&alone(subject), section).is_some() {
            kept.push(subject.clone());
        } else if made(&alone(subject), &AMPLE).is_none() {
            is_clear = false;
        } else if let Some(wider) = without_labels(subject)
            && made(&alone(&wider), section).is_some()
        {
            kept.push(wider);
            for_any_labels = true;
        } else {
            // It can select nobody: these settings tell nothing of what it names.
        }
    }
    let spec = match (is_clear, name.namespace.is_empty()) {
        (true, _) if kept.is_empty() => return Closed::default(),
        (true, _) => json!({ "closed": true, "subjects": kept }),
        (false, true) => {
            json!({ "closed": true, "subjects": [{ "addresses": ["0.0.0.0/0", "::/0"] }] })
        }
        (false, false) => json!({ "closed": true }),
    };
    let policy = made(&spec, section).map(|policy| EgressPolicy {
        name: K::policy_name(name),
        ..policy
    });
    Closed {
        policy,
        for_any_labels: for_any_labels && is_clear,
    }
}

/// A subject without the labels that it names; `None` where it names none.
fn without_labels(subject: &Value) -> Option<Value> {
    let mut wider = subject.as_object()?.clone();
    wider.remove("podLabels")?;
    Some(wider.into())
}

/// A section by which everything is known of clients that there is to know.
static AMPLE: LazyLock<Egress> = LazyLock::new(|| {
    let text = "egress: {identity: {level: address, pods: {}}, listeners: [{name: any, \
                tls: {clientCertificates: {mode: required, ca: ca.pem}}}]}";
    let read = read(&[SourceFile {
        name: "ample".into(),
        text: text.into(),
    }]);
    read.document.egress.unwrap_or_default()
});

/// What files may say and an object may not.
fn faults<K: PolicyObject>(name: &ResourceName, spec: &Map<String, Value>) -> Vec<Problem> {
    let mut faults = too_many::<K>(name, spec);
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

/// What an object has too much of: its author may be anybody of a namespace, and all share the
/// memory of the proxy.
fn too_many<K: PolicyObject>(name: &ResourceName, spec: &Map<String, Value>) -> Vec<Problem> {
    let delegate = spec.get("delegate").and_then(Value::as_object);
    let left = delegate.map_or(&[][..], |delegate| list(delegate, "allow"));
    let [allow, deny, subjects] = ["allow", "deny", "subjects"].map(|field| list(spec, field));
    let entries = allow.iter().chain(deny).chain(left);
    let with = |field: &'static str| {
        let entries = entries.clone();
        entries.filter(|entry| entry.get(field).is_some()).count()
    };
    let counted = [
        ("subjects", subjects.len(), MAX_SUBJECTS),
        ("entries", entries.clone().count(), MAX_ENTRIES),
        ("entries with `regex`", with("regex"), MAX_REGEXES),
        ("entries with `quota`", with("quota"), MAX_QUOTAS),
    ];
    let over = counted.iter().filter(|(_, count, most)| count > most);
    let told = over.map(|(what, count, most)| {
        let reason = format!("{count} {what} are more than the {most} that an object may have");
        problem::<K>(name, "spec", &reason)
    });
    let long = entries
        .filter_map(|entry| entry.get("regex")?.as_str())
        .any(|regex| regex.len() > MAX_REGEX_BYTES);
    let long = long.then(|| {
        let reason = format!("a `regex` of an object has at most {MAX_REGEX_BYTES} bytes");
        problem::<K>(name, "spec", &reason)
    });
    told.chain(long).collect()
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
