//! Tree to document, by serde, without stopping at the first error.
//!
//! - An unknown key is noted and skipped.
//! - An error inside a list item is noted and the item is left out.
//! - An error in a section is noted and the section is left out.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
        SeqAccess, Unexpected, VariantAccess, Visitor, value::StrDeserializer,
    },
};

use super::{
    Origins,
    node::{Key, Node, Value},
};
use crate::{
    document::Document,
    problem::{Origin, Problem, Severity},
};

/// Reads the merged tree.
///
/// Each section, and each item of a section that is a list, is read by itself
/// first; what cannot be read is noted and left out. What is left is then read
/// as one document, so that paths and origins count the items that are in it.
pub(super) fn document(
    root: &Node,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
) -> Document {
    let Value::Mapping(sections) = &root.value else {
        return Document::default();
    };
    let mut kept = Vec::new();
    for (key, node) in sections {
        let known = problems.len();
        let node = match &node.value {
            Value::Sequence(items) if !items.is_empty() => {
                let empty = Node {
                    value: Value::Sequence(Vec::new()),
                    origin: node.origin.clone(),
                };
                if !is_readable(key, empty, 0, origins, problems) || problems.len() > known {
                    continue;
                }
                let readable = |(index, item): (usize, &Node)| {
                    let alone = Node {
                        value: Value::Sequence(vec![item.clone()]),
                        origin: node.origin.clone(),
                    };
                    is_readable(key, alone, index, origins, problems).then(|| item.clone())
                };
                let items = items.iter().enumerate().filter_map(readable).collect();
                Node {
                    value: Value::Sequence(items),
                    origin: node.origin.clone(),
                }
            }
            _ if is_readable(key, node.clone(), 0, origins, problems) => node.clone(),
            _ => continue,
        };
        kept.push((key.clone(), node));
    }
    let kept = Node {
        value: Value::Mapping(kept),
        origin: root.origin.clone(),
    };
    let notes = RefCell::default();
    let document = Document::deserialize(Reader {
        node: &kept,
        path: String::new(),
        offset: 0,
        notes: &notes,
    });
    origins.places.extend(notes.into_inner().places);
    // Every part was read by itself just now.
    document.unwrap_or_default()
}

fn is_readable(
    key: &Key,
    node: Node,
    offset: usize,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
) -> bool {
    let origin = node.origin.clone();
    let alone = Node {
        value: Value::Mapping(vec![(key.clone(), node)]),
        origin: origin.clone(),
    };
    let notes = RefCell::<Notes>::default();
    let result = Document::deserialize(Reader {
        node: &alone,
        path: String::new(),
        offset,
        notes: &notes,
    });
    problems.extend(notes.into_inner().problems);
    if let Err(error) = &result {
        problems.push(error.problem(&origin, &key.text));
        origins.incomplete.insert(key.text.clone());
    }
    result.is_ok()
}

/// What a pass over the tree finds.
#[derive(Debug, Default)]
struct Notes {
    places: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct ReadError {
    reason: String,
    hint: Option<String>,
    place: Option<(Origin, String)>,
}

impl ReadError {
    /// Gives the error a place, unless it has one.
    fn or_at(mut self, place: (Origin, String)) -> Self {
        self.place.get_or_insert(place);
        self
    }

    fn problem(&self, origin: &Origin, path: &str) -> Problem {
        let (origin, path) = self
            .place
            .clone()
            .unwrap_or_else(|| (origin.clone(), path.to_owned()));
        Problem {
            origin,
            path,
            reason: self.reason.clone(),
            hint: self.hint.clone(),
            severity: Severity::Error,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            reason: message.to_string(),
            hint: None,
            place: None,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("the key {field:?} is missing"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Self::custom(format!(
            "unknown value {variant:?}, expected one of {}",
            expected.join(", ")
        ));
        error.hint = did_you_mean(variant, expected.iter().copied());
        error
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Self::custom(format!("unknown key {field:?}"));
        error.hint = did_you_mean(field, expected.iter().copied())
            .or_else(|| Some(format!("known keys: {}", expected.join(", "))));
        error
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("{expected} is expected here, not {unexpected}"))
    }
}

/// Proposes the known word nearest to an unknown one.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3 + 1)
        .min()
        .map(|(_, candidate)| format!("did you mean {candidate:?}?"))
}

struct Reader<'a, 's> {
    node: &'a Node,
    path: String,
    /// Number of the first item of a section that is a list.
    offset: usize,
    notes: &'s RefCell<Notes>,
}

impl<'a, 's> Reader<'a, 's> {
    fn child(&self, node: &'a Node, path: String) -> Self {
        Reader {
            node,
            path,
            offset: 0,
            notes: self.notes,
        }
    }

    /// Gives an error the place of this node, unless it has one.
    fn place<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| error.or_at((self.node.origin.clone(), self.path.clone())))
    }

    fn expected(&self, what: &str) -> ReadError {
        ReadError {
            reason: format!("{what} is expected here, not {}", self.node.kind()),
            hint: None,
            place: Some((self.node.origin.clone(), self.path.clone())),
        }
    }

    fn note_origin(&self) {
        self.notes
            .borrow_mut()
            .places
            .insert(self.path.clone(), self.node.origin.clone());
    }

    fn parse_number<T: std::str::FromStr>(&self, what: &str) -> Result<T, ReadError> {
        self.note_origin();
        match &self.node.value {
            Value::Scalar { text, plain: true } => text
                .replace('_', "")
                .parse()
                .map_err(|_| self.expected(what)),
            Value::Scalar { text, plain: false } if text.parse::<T>().is_ok() => {
                let mut error = self.expected(what);
                error.hint = Some("remove the quotes".into());
                Err(error)
            }
            _ => Err(self.expected(what)),
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number: $type = self.parse_number($what)?;
            let result = visitor.$visit(number);
            self.place(result)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = ReadError;

    numbers! {
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number, 0 or more";
        deserialize_i8 visit_i8 i8, "a whole number";
        deserialize_i16 visit_i16 i16, "a whole number";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if matches!(text.as_str(), "true" | "false") => {
                self.deserialize_bool(visitor)
            }
            Value::Scalar { .. } if self.node.is_null() => {
                let result = visitor.visit_unit();
                self.place(result)
            }
            Value::Scalar { text, plain: true } if text.parse::<u64>().is_ok() => {
                self.deserialize_u64(visitor)
            }
            Value::Scalar { .. } => self.deserialize_str(visitor),
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.note_origin();
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => visitor.visit_bool(true),
            Value::Scalar { text, plain: true } if text == "false" => visitor.visit_bool(false),
            Value::Scalar { text, .. } => {
                let mut error = self.expected("true or false");
                error.hint = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" | "1" => Some("write true, without quotes".into()),
                    "no" | "off" | "n" | "false" | "0" => {
                        Some("write false, without quotes".into())
                    }
                    _ => None,
                };
                Err(error)
            }
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.note_origin();
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => {
                let result = visitor.visit_borrowed_str(text);
                self.place(result)
            }
            _ => Err(self.expected("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ReadError> {
        Err(self.expected("something other than bytes"))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() {
            visitor.visit_unit()
        } else {
            Err(self.expected("nothing"))
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.note_origin();
        match &self.node.value {
            Value::Sequence(items) => visitor.visit_seq(Items {
                reader: &self,
                items: items.iter(),
                index: self.offset,
            }),
            Value::Scalar { .. } if self.node.is_null() => visitor.visit_seq(Items {
                reader: &self,
                items: [].iter(),
                index: 0,
            }),
            _ => Err(self.expected("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.note_origin();
        match &self.node.value {
            Value::Mapping(entries) => {
                let result = visitor.visit_map(Entries {
                    reader: &self,
                    fields: None,
                    entries: entries.iter(),
                    value: None,
                });
                self.place(result)
            }
            _ => Err(self.expected("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.note_origin();
        let entries: &[(Key, Node)] = match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Scalar { .. } if self.node.is_null() => &[],
            _ => return Err(self.expected(&format!("a map with {}", fields.join(", ")))),
        };
        let map = Entries {
            reader: &self,
            fields: Some(fields),
            entries: entries.iter(),
            value: None,
        };
        let result = visitor.visit_map(map);
        self.place(result)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.note_origin();
        let result = match &self.node.value {
            Value::Scalar { text, .. } => visitor.visit_enum(Variant {
                reader: &self,
                name: text,
                value: None,
            }),
            Value::Mapping(entries) if entries.len() == 1 => visitor.visit_enum(Variant {
                reader: &self,
                name: &entries[0].0.text,
                value: Some(&entries[0].1),
            }),
            _ => return Err(self.expected(&format!("exactly one of {}", variants.join(", ")))),
        };
        self.place(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

/// The items of a list; those that cannot be read are noted and left out.
struct Items<'r, 'de, 's> {
    reader: &'r Reader<'de, 's>,
    items: std::slice::Iter<'de, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de, '_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let path = format!("{}[{}]", self.reader.path, self.index);
        self.index += 1;
        let reader = self.reader.child(item, path);
        let place = (item.origin.clone(), reader.path.clone());
        seed.deserialize(reader)
            .map(Some)
            .map_err(|error| error.or_at(place))
    }
}

/// The entries of a map; keys that a struct does not have are noted and left out.
struct Entries<'r, 'de, 's> {
    reader: &'r Reader<'de, 's>,
    fields: Option<&'static [&'static str]>,
    entries: std::slice::Iter<'de, (Key, Node)>,
    value: Option<(&'de str, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        for (key, node) in self.entries.by_ref() {
            if let Some(fields) = self.fields
                && !fields.contains(&key.text.as_str())
            {
                self.reader.notes.borrow_mut().problems.push(Problem {
                    origin: key.origin.clone(),
                    path: join(&self.reader.path, &key.text),
                    reason: format!("unknown key {:?}", key.text),
                    hint: did_you_mean(&key.text, fields.iter().copied())
                        .or_else(|| Some(format!("known keys: {}", fields.join(", ")))),
                    severity: Severity::Error,
                });
                continue;
            }
            self.value = Some((&key.text, node));
            let key: StrDeserializer<'_, ReadError> = key.text.as_str().into_deserializer();
            return seed.deserialize(key).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, node) = self
            .value
            .take()
            .ok_or_else(|| ReadError::custom("a value was asked for before its key"))?;
        let path = join(&self.reader.path, key);
        let mut reader = self.reader.child(node, path);
        // The offset belongs to the list right below the root.
        reader.offset = self.reader.offset;
        let place = (node.origin.clone(), reader.path.clone());
        seed.deserialize(reader).map_err(|error| error.or_at(place))
    }
}

/// An enum: text, or a map with one key.
struct Variant<'r, 'de, 's> {
    reader: &'r Reader<'de, 's>,
    name: &'de str,
    value: Option<&'de Node>,
}

impl<'r, 'de, 's> EnumAccess<'de> for Variant<'r, 'de, 's> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'_, 'de, '_> {
    fn value(&self) -> Result<Reader<'de, '_>, ReadError> {
        let node = self.value.ok_or_else(|| {
            ReadError::custom(format!(
                "{:?} needs a value, as `{}: ...`",
                self.name, self.name
            ))
        })?;
        Ok(self.reader.child(node, join(&self.reader.path, self.name)))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de, '_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.value {
            Some(node) if !node.is_null() => {
                Err(ReadError::custom(format!("{:?} takes no value", self.name)))
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.value()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.value()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.value {
            Some(_) => self.value()?.deserialize_struct("", fields, visitor),
            // All fields of a struct variant may have defaults.
            None => {
                let empty = Entries {
                    reader: self.reader,
                    fields: Some(fields),
                    entries: [].iter(),
                    value: None,
                };
                visitor.visit_map(empty)
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
