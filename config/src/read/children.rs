//! Lists, maps and enums as serde walks them.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor, value::StrDeserializer,
};

use super::{
    MAX_PROBLEMS,
    de::Reader,
    error::ReadError,
    hints,
    node::{Key, Node, Value},
};

/// The items of a list.
pub(super) struct Items<'r, 'de> {
    pub(super) reader: &'r Reader<'de, 'r>,
    pub(super) items: std::slice::Iter<'de, Node>,
    pub(super) index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        for item in self.items.by_ref() {
            let path = self.reader.path.item(self.index);
            self.index += 1;
            if matches!(item.value, Value::Removed) {
                continue;
            }
            let result = seed.deserialize(self.reader.child(item, path));
            return result
                .map(Some)
                .map_err(|error| error.or_at(&item.place, &path));
        }
        Ok(None)
    }
}

/// The entries of a map; keys that a struct does not have are noted and left out.
pub(super) struct Entries<'r, 'de> {
    pub(super) reader: &'r Reader<'de, 'r>,
    pub(super) fields: Option<&'static [&'static str]>,
    pub(super) entries: std::slice::Iter<'de, (Key, Node)>,
    pub(super) value: Option<(&'de str, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        for (key, node) in self.entries.by_ref() {
            if matches!(node.value, Value::Removed) {
                continue;
            }
            let path = self.reader.path.key(&key.text);
            if let Some(fields) = self.fields
                && !fields.contains(&key.text.as_str())
            {
                let mut notes = self.reader.notes.borrow_mut();
                if notes.len() >= MAX_PROBLEMS {
                    continue;
                }
                let hint = hints::for_key(&self.reader.path.to_string(), &key.text, fields);
                let reason = format!("unknown key {:?}", key.text);
                notes.push(key.place.error(&path.to_string(), reason, Some(&hint)));
                continue;
            }
            let name: StrDeserializer<'_, ReadError> = key.text.as_str().into_deserializer();
            self.value = Some((&key.text, node));
            let result = seed.deserialize(name);
            return result
                .map(Some)
                .map_err(|error| error.or_at(&key.place, &path));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, node) = self
            .value
            .take()
            .ok_or_else(|| ReadError::custom("a value was asked for before its key"))?;
        let path = self.reader.path.key(key);
        if node.is_null() {
            // Nothing, an empty list and no key at all are three things: an `allow:`
            // whose entries were commented out must not allow everybody, nor a
            // `tlsPolicies:` lift every client certificate.
            let mut error = ReadError::custom(format!("nothing is written for {key:?}"));
            error.hint = Some("remove the key, or give it a value; `[]` is an empty list".into());
            return Err(error.or_at(&node.place, &path));
        }
        let mut reader = self.reader.child(node, path);
        // The offset belongs to the list right below the root.
        if self.reader.path.is_root() {
            reader.offset = self.reader.offset;
        }
        seed.deserialize(reader)
            .map_err(|error| error.or_at(&node.place, &path))
    }
}

/// An enum: text, or a map with one key.
pub(super) struct Variant<'r, 'de> {
    pub(super) reader: &'r Reader<'de, 'r>,
    pub(super) name: &'de str,
    pub(super) value: Option<&'de Node>,
}

impl<'r, 'de> EnumAccess<'de> for Variant<'r, 'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'_, 'de> {
    fn value(&self) -> Result<Reader<'de, '_>, ReadError> {
        let node = self.value.ok_or_else(|| {
            ReadError::custom(format!(
                "{:?} needs a value, as `{}: ...`",
                self.name, self.name
            ))
        })?;
        Ok(self.reader.child(node, self.reader.path.key(self.name)))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.value {
            Some(node) if !node.is_null() && !matches!(node.value, Value::Filler) => {
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
