//! Questions of the API server about objects, before it takes them, and the answers
//! (`admission.k8s.io/v1`).

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::{Metadata, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Most that is told of one object.
pub(super) const MAX_TOLD: usize = 16;

/// A question, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Review {
    pub(super) request: Request,
}

/// What is asked about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) uid: String,
    kind: Kind,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    sub_resource: String,
    operation: String,
    #[serde(default)]
    object: Value,
    /// As it was before an update.
    #[serde(default)]
    pub(super) old_object: Value,
}

#[derive(Debug, Deserialize)]
struct Kind {
    group: String,
    version: String,
    kind: String,
}

/// What is said of an object.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Why it is refused.
    pub(super) errors: Vec<String>,
    /// What its author should know.
    pub(super) warnings: Vec<String>,
    /// What is done to it, as operations of a JSON Patch (RFC 6902).
    pub(super) patch: Vec<Value>,
}

impl Request {
    /// Whether it is about writing an object itself, and not of a part such as its status.
    pub(super) fn is_written(&self) -> bool {
        matches!(self.operation.as_str(), "CREATE" | "UPDATE") && self.sub_resource.is_empty()
    }

    /// Whether the object comes into being.
    pub(super) fn is_created(&self) -> bool {
        self.operation == "CREATE" && self.sub_resource.is_empty()
    }

    /// Whether the object is of a kind.
    pub(super) fn is<K: Resource>(&self) -> bool {
        let Kind {
            group,
            version,
            kind,
        } = &self.kind;
        (group.as_str(), version.as_str(), kind.as_str()) == (K::GROUP, K::VERSION, K::KIND)
    }

    /// The object, with the names that it may not have yet.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn into_object<K>(self) -> Result<K, String>
    where
        K: DeserializeOwned + Metadata<Ty = ObjectMeta>,
    {
        let mut object: K = serde_json::from_value(self.object)
            .map_err(|error| format!("the {} cannot be read: {error}", K::KIND))?;
        let metadata = object.metadata_mut();
        if !self.namespace.is_empty() {
            metadata.namespace.get_or_insert(self.namespace);
        }
        if metadata.name.is_none() {
            metadata.name = Some(metadata.generate_name.clone().unwrap_or_default());
        }
        Ok(object)
    }
}

impl Verdict {
    /// That of an object that is refused for one reason.
    pub(super) fn refused(error: String) -> Self {
        Self {
            errors: vec![error],
            ..Self::default()
        }
    }

    /// That of an object that is taken as it is, and something is said of it.
    pub(super) fn warned(warning: String) -> Self {
        Self {
            warnings: vec![warning],
            ..Self::default()
        }
    }

    /// The answer to the question with this UID.
    pub(super) fn into_answer(self, uid: &str) -> Value {
        let mut response = json!({ "uid": uid, "allowed": self.errors.is_empty() });
        if !self.errors.is_empty() {
            let message = told(self.errors).join("\n");
            response["status"] = json!({ "code": 422, "reason": "Invalid", "message": message });
        } else if !self.patch.is_empty() {
            let patch = Value::Array(self.patch).to_string();
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(BASE64_STANDARD.encode(patch));
        }
        if !self.warnings.is_empty() {
            response["warnings"] = json!(told(self.warnings));
        }
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        })
    }
}

/// The first of many lines, and how many there are besides.
pub(super) fn told(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MAX_TOLD {
        let more = lines.len() - MAX_TOLD;
        lines.truncate(MAX_TOLD);
        lines.push(format!("and {more} more"));
    }
    lines
}
