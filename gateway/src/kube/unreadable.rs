//! Problems of Secrets that the API server does not give.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1::Secret, networking::v1::Ingress};
use portcullis_config::problem::{Origin, Problem, Severity};

use super::{ObjectSet, Options, ResourceName, objects::place, translate::served_ingresses};

/// What to do about it.
const HINT: &str =
    "`portcullis rbac --secrets named --secret NAMESPACE/NAME` prints the rights for it";

/// A problem for each Ingress that names such a Secret.
pub(super) fn problems(
    objects: &ObjectSet,
    options: &Options,
    unreadable: &BTreeMap<ResourceName, String>,
) -> Vec<Problem> {
    if unreadable.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut tell = |origin: Origin, secret: &ResourceName, reason: &str| {
        let is_kept = objects.secrets.contains_key(secret);
        let instead = match is_kept {
            true => "; what was read of it before serves on",
            false => "",
        };
        problems.push(Problem {
            origin,
            path: String::new(),
            reason: format!("Secret {secret} cannot be read: {reason}{instead}"),
            hint: reason.contains("forbidden").then(|| HINT.to_owned()),
            severity: Severity::Error,
        });
    };
    for name in served_ingresses(objects, options) {
        let ingress = objects.ingresses.get(&name);
        let tls = ingress.and_then(|ingress| ingress.spec.as_ref()?.tls.as_ref());
        for (index, tls) in tls.into_iter().flatten().enumerate() {
            let Some(secret) = tls.secret_name.as_deref() else {
                continue;
            };
            let secret = ResourceName::new(&name.namespace, secret);
            if let Some(reason) = unreadable.get(&secret) {
                let field = format!("spec.tls[{index}].secretName");
                tell(place::<Ingress>(&name, &field), &secret, reason);
            }
        }
    }
    if let Some(secret) = &options.default_certificate
        && let Some(reason) = unreadable.get(secret)
    {
        tell(place::<Secret>(secret, ""), secret, reason);
    }
    problems
}
