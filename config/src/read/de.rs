//! The tree as serde reads it.
//!
//! A key that a struct does not have is noted and skipped; every other error
//! ends the reading, with its place.

use std::cell::RefCell;

use serde::de::{Deserializer, Error as _, Visitor};

use super::{
    children::{Entries, Items, Variant},
    error::ReadError,
    hints,
    node::{Key, Node, Value},
    path::Path,
};
use crate::problem::Problem;

/// Reads one node.
pub(super) struct Reader<'a, 'p> {
    pub(super) node: &'a Node,
    pub(super) path: Path<'p>,
    /// Number of the first item of a section that is a list.
    pub(super) offset: usize,
    /// Problems that do not end the reading.
    pub(super) notes: &'p RefCell<Vec<Problem>>,
}

impl<'a, 'p> Reader<'a, 'p> {
    /// A reader of the root; items of a section that is a list are counted from `offset`.
    pub(super) fn new(root: &'a Node, offset: usize, notes: &'p RefCell<Vec<Problem>>) -> Self {
        Reader {
            node: root,
            path: Path::ROOT,
            offset,
            notes,
        }
    }

    /// A reader of a node below this one.
    pub(super) fn child<'c>(&'c self, node: &'a Node, path: Path<'c>) -> Reader<'a, 'c> {
        Reader {
            node,
            path,
            offset: 0,
            notes: self.notes,
        }
    }

    /// Gives an error the place of this node, unless it has one.
    fn place<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| error.or_at(&self.node.place, &self.path))
    }

    fn expected(&self, what: &str) -> ReadError {
        ReadError::custom(format!("{what} is expected here, not {}", self.node.kind()))
            .or_at(&self.node.place, &self.path)
    }

    fn parse_number<T: std::str::FromStr>(&self, what: &str) -> Result<T, ReadError> {
        let (text, plain) = match &self.node.value {
            Value::Scalar { text, plain } => (text.as_str(), *plain),
            Value::Filler => ("1", true),
            _ => return Err(self.expected(what)),
        };
        // YAML 1.1 reads these in other ways: 010 is 8, 1_0 is 10 and nan is a word.
        let digits = text.trim_start_matches('-');
        let unambiguous = (text == "0" || digits.starts_with("0.") || !digits.starts_with('0'))
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
        let parsed = text.parse().ok().filter(|_| unambiguous);
        let hint = match parsed {
            Some(number) if plain => return Ok(number),
            Some(_) => Some("remove the quotes"),
            None if text.ends_with('%') => Some("write the number alone"),
            None if text.contains('_') => Some("write the digits without `_`"),
            None if text.len() > 1 && text.starts_with(['0', '+']) => {
                Some("write a decimal number without leading zeros")
            }
            None => None,
        };
        let mut error = self.expected(what);
        error.hint = hint.map(str::to_owned);
        Err(error)
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
            Value::Scalar { .. } | Value::Removed | Value::Filler => self.deserialize_str(visitor),
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => visitor.visit_bool(true),
            Value::Scalar { text, plain: true } if text == "false" => visitor.visit_bool(false),
            Value::Filler => visitor.visit_bool(false),
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
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => {
                let result = visitor.visit_borrowed_str(text);
                self.place(result)
            }
            Value::Filler => {
                let result = visitor.visit_borrowed_str("");
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
        if self.node.is_null() || matches!(self.node.value, Value::Filler) {
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
        let items: &[Node] = match &self.node.value {
            Value::Sequence(items) => items,
            Value::Filler => &[],
            Value::Scalar { .. } if self.node.is_null() => &[],
            value => {
                let mut error = self.expected("a list");
                error.hint = match value {
                    Value::Scalar { text, .. } => hints::for_list(&self.path.to_string(), text),
                    Value::Mapping(_) => Some(hints::for_map_as_list()),
                    _ => None,
                };
                return Err(error);
            }
        };
        let result = visitor.visit_seq(Items {
            reader: &self,
            items: items.iter(),
            index: self.offset,
        });
        self.place(result)
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
        let entries: &[(Key, Node)] = match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Filler => &[],
            Value::Scalar { .. } if self.node.is_null() => &[],
            value => {
                let mut error = self.expected(&format!("a map with {}", fields.join(", ")));
                error.hint = match value {
                    Value::Scalar { text, .. } => hints::for_map(&self.path.to_string(), text),
                    Value::Sequence(_) => Some(hints::for_list_as_map()),
                    _ => None,
                };
                return Err(error);
            }
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
        let (name, value) = match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => (text.as_str(), None),
            Value::Mapping(entries) if entries.len() == 1 => {
                (entries[0].0.text.as_str(), Some(&entries[0].1))
            }
            Value::Filler => (
                variants.first().copied().unwrap_or_default(),
                Some(self.node),
            ),
            _ => return Err(self.expected(&format!("exactly one of {}", variants.join(", ")))),
        };
        let result = visitor.visit_enum(Variant {
            reader: &self,
            name,
            value,
        });
        self.place(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}
