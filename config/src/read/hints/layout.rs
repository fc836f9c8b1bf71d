//! The document as a tree of keys: which key stands at which level.
//!
//! It is made from the schema, and so from the types themselves. Hints alone
//! need it; what has no problem never makes it.

use std::sync::LazyLock;

use serde_json::Value;

/// A level of the document: a map with its keys.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// Its path, as `routes[].rules[]`; empty at the top.
    pub(super) path: String,
    /// The type of the map, as `Rule`.
    pub(super) kind: String,
    /// Its keys, in the order of the fields.
    pub(super) keys: Vec<Key>,
}

/// A key of a level.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub(super) name: String,
    /// The type of its value, or of the items of its list; empty for a plain one.
    pub(super) kind: String,
    /// Whether its value is a list.
    pub(super) is_list: bool,
    /// Whether the map must have it.
    pub(super) is_required: bool,
}

impl Level {
    /// The key of a name; case, `-` and `_` do not count.
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        let plain = plain(name);
        self.keys.iter().find(|key| self::plain(&key.name) == plain)
    }
}

/// Every level, the outer one before what is in it.
pub(super) fn levels() -> &'static [Level] {
    static LEVELS: LazyLock<Vec<Level>> = LazyLock::new(|| {
        let schema = crate::read::schema();
        let mut levels = Vec::new();
        collect(&schema, &schema["$defs"], "", "Document", &mut levels);
        levels
    });
    &LEVELS
}

/// The level at a path of a document, whatever the numbers of its items.
pub(super) fn level(path: &str) -> Option<&'static Level> {
    let path = without_numbers(path);
    levels().iter().find(|level| level.path == path)
}

/// A path with `[]` for each `[3]`.
pub(super) fn without_numbers(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            inside = match c {
                '[' => true,
                ']' => false,
                _ => inside,
            };
            !(inside && c.is_ascii_digit())
        })
        .collect()
}

/// A name as it is compared: `Max-Body-Size` is `maxBodySize`.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_'));
    letters.flat_map(char::to_lowercase).collect()
}

fn collect(schema: &Value, defs: &Value, path: &str, kind: &str, levels: &mut Vec<Level>) {
    if let Some(name) = referred(schema) {
        collect(&defs[name], defs, path, name, levels);
    }
    for choice in choices(schema) {
        collect(choice, defs, path, kind, levels);
    }
    if let Some(items) = schema.get("items") {
        collect(items, defs, &format!("{path}[]"), "", levels);
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = schema.get("required").and_then(Value::as_array);
    let keys = properties.iter().map(|(name, value)| Key {
        name: name.clone(),
        kind: kind_of(value).unwrap_or_default().to_owned(),
        is_list: is_list(value),
        is_required: required.is_some_and(|names| names.iter().any(|known| known == name)),
    });
    // The ways of an enum are maps of one key each at one path.
    match levels.iter_mut().find(|level| level.path == path) {
        Some(level) => level.keys.extend(keys),
        None => levels.push(Level {
            path: path.to_owned(),
            kind: kind.to_owned(),
            keys: keys.collect(),
        }),
    }
    for (name, value) in properties {
        let path = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        collect(value, defs, &path, "", levels);
    }
}

fn referred(schema: &Value) -> Option<&str> {
    let reference = schema.get("$ref")?.as_str()?;
    reference.strip_prefix("#/$defs/")
}

fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    let of = |word| schema.get(word).and_then(Value::as_array);
    of("anyOf")
        .into_iter()
        .chain(of("oneOf"))
        .flat_map(|choices| choices.iter())
}

fn kind_of(schema: &Value) -> Option<&str> {
    referred(schema)
        .or_else(|| schema.get("items").and_then(kind_of))
        .or_else(|| choices(schema).find_map(kind_of))
}

fn is_list(schema: &Value) -> bool {
    schema.get("items").is_some() || choices(schema).any(is_list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_document() {
        let rule = level("routes[3].rules[14]").unwrap();
        assert_eq!(rule.kind, "Rule");
        assert!(rule.key("request-headers").is_some_and(|key| !key.is_list));
        let backends = rule.key("backends").unwrap();
        assert_eq!(
            (backends.kind.as_str(), backends.is_list),
            ("RouteBackend", true)
        );
        for (path, key) in [
            ("", "wafProfiles"),
            ("defaults.timeouts", "clientRead"),
            ("routes[0].rules[0].matches[0].path", "regex"),
            ("rateLimits[0].key.prefix", "v6"),
            ("egress.policies[1].allow[2]", "cidr"),
            ("backends[0].balance.hash", "header"),
        ] {
            let level = level(path).unwrap_or_else(|| panic!("{path}"));
            assert!(level.key(key).is_some(), "{path}.{key}: {level:?}");
        }
        let endpoint = level("backends[0].endpoints[0]").unwrap();
        let required = endpoint.keys.iter().filter(|key| key.is_required);
        assert_eq!(
            required.map(|key| &key.name).collect::<Vec<_>>(),
            ["address"]
        );
    }
}
