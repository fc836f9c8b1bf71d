//! How many values a JSON text has.
//!
//! A value of three bytes of text, `{},`, takes hundreds of bytes once it is a structure. So texts of
//! others are counted first, which keeps nothing, and what has too many is not read.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// A number of values: lists, maps and what is in them, and keys of maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct JsonValues(pub(super) usize);

impl<'de> Deserialize<'de> for JsonValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counting)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = JsonValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<JsonValues, E> {
        Ok(JsonValues(1))
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonValues, E> {
        Ok(JsonValues(1))
    }

    fn visit_i64<E>(self, _: i64) -> Result<JsonValues, E> {
        Ok(JsonValues(1))
    }

    fn visit_u64<E>(self, _: u64) -> Result<JsonValues, E> {
        Ok(JsonValues(1))
    }

    fn visit_f64<E>(self, _: f64) -> Result<JsonValues, E> {
        Ok(JsonValues(1))
    }

    fn visit_str<E>(self, _: &str) -> Result<JsonValues, E> {
        Ok(JsonValues(1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonValues, A::Error> {
        let mut all = 1;
        while let Some(JsonValues(more)) = list.next_element()? {
            all += more;
        }
        Ok(JsonValues(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValues, A::Error> {
        let mut all = 1;
        while let Some((JsonValues(key), JsonValues(more))) = map.next_entry()? {
            all += key + more;
        }
        Ok(JsonValues(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_counts_and_so_does_each_key() {
        for (text, values) in [
            ("null", 1),
            ("[]", 1),
            ("[{},{},[1,-1,1.5,true,\"a\\n\"]]", 9),
            ("{\"a\":{\"b\":[null]}}", 6),
        ] {
            let counted: JsonValues = serde_json::from_str(text).expect(text);
            assert_eq!(counted, JsonValues(values), "{text}");
        }
    }
}
