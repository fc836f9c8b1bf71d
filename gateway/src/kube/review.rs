//! Questions of the API server about objects, before it takes them, and the answers
//! (`admission.k8s.io/v1`).
//!
//! ```text
//! body -> who, what kind, which operation; values are counted -> the object, if it is wanted
//! ```

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use k8s_openapi::{Metadata, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::json_values::JsonValues;

/// Most that is told of one object.
pub(super) const MAX_TOLD: usize = 16;
/// Most values that an object has which is read; each takes some hundred bytes then. A policy of
/// 10,000 entries has about 60,000.
pub(super) const MAX_VALUES: usize = 200_000;

/// A question. The object stays a text until somebody wants it, who knows then of what kind it is.
#[derive(Debug)]
pub(super) struct Review {
    request: Request,
    body: Bytes,
}

/// What is asked about, as far as it is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    sub_resource: String,
    operation: String,
    #[serde(default)]
    object: JsonValues,
    /// As it was before an update.
    #[serde(default)]
    old_object: JsonValues,
}

#[derive(Debug, Deserialize)]
struct Kind {
    group: String,
    version: String,
    kind: String,
}

/// A question of which one part is wanted.
#[derive(Deserialize)]
struct Whole<P> {
    request: P,
}

#[derive(Deserialize)]
struct Object<T> {
    object: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldObject<T> {
    old_object: T,
}

#[derive(Deserialize)]
struct OfSpec {
    #[serde(default)]
    spec: Option<Value>,
}

impl Review {
    /// Reads a question, but no object. An object counts as far as its values.
    ///
    /// # Errors
    /// It is none, or no JSON.
    pub(super) fn read(body: Bytes) -> Result<Self, serde_json::Error> {
        let Whole { request } = serde_json::from_slice(&body)?;
        Ok(Self { request, body })
    }

    /// What the answer refers to.
    pub(super) fn uid(&self) -> &str {
        &self.request.uid
    }

    /// The namespace of the object; empty where it has none.
    pub(super) fn namespace(&self) -> &str {
        &self.request.namespace
    }

    /// Whether it is about writing an object itself, and not of a part such as its status.
    pub(super) fn is_written(&self) -> bool {
        let request = &self.request;
        matches!(request.operation.as_str(), "CREATE" | "UPDATE") && request.sub_resource.is_empty()
    }

    /// Whether the object comes into being.
    pub(super) fn is_created(&self) -> bool {
        self.request.operation == "CREATE" && self.request.sub_resource.is_empty()
    }

    /// Whether the object is of a kind.
    pub(super) fn is<K: Resource>(&self) -> bool {
        let Kind {
            group,
            version,
            kind,
        } = &self.request.kind;
        (group.as_str(), version.as_str(), kind.as_str()) == (K::GROUP, K::VERSION, K::KIND)
    }

    /// What is wanted of the object.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn object<T: DeserializeOwned>(&self) -> Result<T, String> {
        let kind = &self.request.kind.kind;
        let JsonValues(values) = self.request.object;
        if values > MAX_VALUES {
            return Err(format!(
                "the {kind} has {values} values, and what has more than {MAX_VALUES} is not read"
            ));
        }
        let whole: Whole<Object<T>> = serde_json::from_slice(&self.body)
            .map_err(|error| format!("the {kind} cannot be read: {error}"))?;
        Ok(whole.request.object)
    }

    /// The object, with the names that it may not have yet.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn named_object<K>(&self) -> Result<K, String>
    where
        K: DeserializeOwned + Metadata<Ty = ObjectMeta>,
    {
        let mut object: K = self.object()?;
        let metadata = object.metadata_mut();
        if !self.namespace().is_empty() {
            let namespace = || self.namespace().to_owned();
            metadata.namespace.get_or_insert_with(namespace);
        }
        if metadata.name.is_none() {
            metadata.name = Some(metadata.generate_name.clone().unwrap_or_default());
        }
        Ok(object)
    }

    /// The `spec` of the object before an update. There is none where it cannot be read: then the object
    /// is judged as if all of it were new.
    pub(super) fn old_spec(&self) -> Option<Value> {
        if self.request.old_object.0 > MAX_VALUES {
            return None;
        }
        let whole: Whole<OldObject<OfSpec>> = serde_json::from_slice(&self.body).ok()?;
        whole.request.old_object.spec
    }
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::Ingress;

    use super::*;

    fn review(object: &str, old_object: &str) -> Review {
        let text = format!(
            r#"{{"request":{{"object":{object},"oldObject":{old_object},"uid":"u","operation":"UPDATE",
            "kind":{{"group":"networking.k8s.io","version":"v1","kind":"Ingress"}}}}}}"#
        );
        Review::read(text.into()).expect("a review")
    }

    #[test]
    fn an_object_of_many_values_is_refused_before_it_is_read() {
        let many = format!(
            r#"{{"spec":{{"rules":[{}{{}}]}}}}"#,
            "{},".repeat(MAX_VALUES)
        );
        let refused = review(&many, &many);
        assert!(refused.is_written() && refused.is::<Ingress>());
        let error = refused.named_object::<Ingress>().expect_err("too many");
        assert_eq!(
            error,
            "the Ingress has 200006 values, and what has more than 200000 is not read"
        );
        assert_eq!(refused.old_spec(), None);
        let taken = review(r#"{"metadata":{"name":"a"}}"#, r#"{"spec":{"a":1}}"#);
        let taken_object: Ingress = taken.named_object().expect("an Ingress");
        assert_eq!(taken_object.metadata.name.as_deref(), Some("a"));
        assert_eq!(taken.old_spec(), Some(json!({ "a": 1 })));
        assert_eq!(review("{}", "null").old_spec(), None);
    }
}
