//! An object of the API server as it comes, which may be one that cannot be read.
//!
//! One object must not hide the others of a list. `kube::core::DeserializeGuard` sees to that for
//! one of the wrong shape. What it cannot help against is one of many levels: custom resources keep
//! what no schema knows, as deep as their authors like, and the parser of JSON gives up at 128
//! levels, the whole list with it. So what is deeper than any kind of ours is left out here.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::error_boundary::InvalidObject};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Levels of an object that are read. No field that is served lies half as deep.
const MAX_DEPTH: usize = 64;

/// An object, or why it cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Guarded<K>(pub(super) Result<K, InvalidObject>);

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Levels(MAX_DEPTH).deserialize(deserializer)?;
        let error = match K::deserialize(&value) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
        Ok(Self(Err(InvalidObject { error, metadata })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

/// Reads so many levels of a value; what is below them is null.
#[derive(Clone, Copy)]
struct Levels(usize);

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0.checked_sub(1) {
            Some(below) => deserializer.deserialize_any(Self(below)),
            // This goes through any number of levels without one of the stack.
            None => IgnoredAny::deserialize(deserializer).map(|_| Value::Null),
        }
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            all.push(value);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = map.next_key()? {
            all.insert(key, map.next_value_seed(self)?);
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::core::ObjectList;

    use super::*;
    use crate::kube::{EgressPolicyObject, egress_policy::PolicyObject};

    fn policy(name: &str, depth: usize) -> String {
        let deep = format!("{}1{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth));
        format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"ci"}},"spec":{{"mode":"report","x":{deep}}}}}"#
        )
    }

    #[test]
    fn an_object_of_many_levels_hides_no_others() {
        let policies = [policy("a", 1), policy("b", 4000), policy("c", 10)];
        let list = format!(r#"{{"items":[{}],"metadata":{{}}}}"#, policies.join(","));
        let list: ObjectList<Guarded<EgressPolicyObject>> =
            serde_json::from_str(&list).expect("a list");
        let names: Vec<_> = list.iter().flat_map(|one| &one.meta().name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        // What is there of it says still that nobody knows it.
        let read: Guarded<EgressPolicyObject> =
            serde_json::from_str(&policies[1]).expect("an object");
        let spec = read.0.expect("a policy").spec().clone();
        assert_eq!(spec["mode"], "report");
        assert!(spec["x"]["a"][0]["a"].is_array());
    }

    #[test]
    fn what_is_read_is_what_is_there() {
        let text = r#"{"a":[1,-2,3.5,true,null,"b",{"c":[]}],"d":18446744073709551615}"#;
        let read = Levels(4).deserialize(&mut serde_json::Deserializer::from_str(text));
        let expected: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(read.expect("JSON"), expected);
        let cut = Levels(2).deserialize(&mut serde_json::Deserializer::from_str(text));
        let cut = cut.expect("JSON");
        assert_eq!(cut["a"], Value::from(vec![Value::Null; 7]));
        assert_eq!(cut["d"], u64::MAX);
    }

    #[test]
    fn one_of_the_wrong_shape_has_its_name() {
        let text = r#"{"metadata":{"name":"a"},"spec":{"ports":"none"}}"#;
        let read: Guarded<Service> = serde_json::from_str(text).expect("an object");
        assert_eq!(read.meta().name.as_deref(), Some("a"));
        assert!(read.0.is_err());
    }
}
