//! Names of tags and attributes that injections need.
//!
//! The names are in `data/html-names.txt`, and tables of them are made at the first use.

use std::{cmp::Ordering, sync::LazyLock};

/// What an attribute's value can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// Runs a script, or hides one.
    Banned,
    /// Is a URL.
    Url,
    /// Is style, which some browsers run scripts from.
    Style,
    /// Is the name of another attribute.
    Indirect,
}

/// Tells whether a tag runs scripts or loads what does.
pub(super) fn is_banned_tag(name: &[u8]) -> bool {
    let Some(start) = name.get(..3) else {
        return false;
    };
    start.eq_ignore_ascii_case(b"SVG")
        || start.eq_ignore_ascii_case(b"XSL")
        || TABLE.tags.iter().any(|tag| is_same(name, tag))
}

/// Returns what an attribute's value can do, where that is anything.
pub(super) fn attribute(name: &[u8]) -> Option<Attribute> {
    let table = &*TABLE;
    if let [a, b, rest @ ..] = name
        && rest.len() >= 3
    {
        let is_event = a.eq_ignore_ascii_case(&b'O') && b.eq_ignore_ascii_case(&b'N');
        if is_event && table.is_event(rest) {
            return Some(Attribute::Banned);
        }
        let start = &name[..5];
        if start.eq_ignore_ascii_case(b"XMLNS") || start.eq_ignore_ascii_case(b"XLINK") {
            return Some(Attribute::Banned);
        }
    }
    let mut attributes = table.attributes.iter();
    attributes
        .find(|(_, known)| is_same(name, known))
        .map(|&(attribute, _)| attribute)
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_str!("../data/html-names.txt")));

#[derive(Default)]
struct Table {
    tags: Vec<&'static [u8]>,
    attributes: Vec<(Attribute, &'static [u8])>,
    /// Events without `ON`, in order, and none that begins with another.
    events: Vec<&'static [u8]>,
}

impl Table {
    /// Lines of a kind, a space and a name in capitals. Names of a kind are in order.
    fn read(lines: &'static str) -> Self {
        let mut table = Self::default();
        for (kind, name) in lines.lines().filter_map(|line| line.split_once(' ')) {
            let name = name.as_bytes();
            match kind {
                "tag" => table.tags.push(name),
                "attribute-banned" => table.attributes.push((Attribute::Banned, name)),
                "attribute-url" => table.attributes.push((Attribute::Url, name)),
                "attribute-style" => table.attributes.push((Attribute::Style, name)),
                "attribute-indirect" => table.attributes.push((Attribute::Indirect, name)),
                // The name before it is its start, if any is.
                "event" => {
                    let last = table.events.last();
                    if last.is_none_or(|last| !name.starts_with(last)) {
                        table.events.push(name);
                    }
                }
                _ => (),
            }
        }
        table
    }

    /// Tells whether a name begins with that of an event.
    fn is_event(&self, name: &[u8]) -> bool {
        let after = self.events.partition_point(|event| {
            let order = event
                .iter()
                .copied()
                .cmp(name.iter().map(u8::to_ascii_uppercase));
            order != Ordering::Greater
        });
        // An event that begins the name is right before it in order.
        let before = after.checked_sub(1).and_then(|at| self.events.get(at));
        before.is_some_and(|event| {
            name.get(..event.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(event))
        })
    }
}

/// Compares a name with one in capitals. Browsers have ignored NULs.
fn is_same(name: &[u8], known: &[u8]) -> bool {
    if name.len() < known.len() {
        return false;
    }
    if name.len() == known.len() {
        return name.eq_ignore_ascii_case(known);
    }
    let name = name.iter().filter(|&&byte| byte != 0);
    name.map(u8::to_ascii_uppercase).eq(known.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_file_is_known() {
        for line in include_str!("../data/html-names.txt").lines() {
            let (kind, name) = line.split_once(' ').unwrap();
            let name = name.to_ascii_lowercase();
            match kind {
                "tag" => assert!(is_banned_tag(name.as_bytes()), "{name}"),
                "event" => assert!(
                    attribute(format!("on{name}").as_bytes()).is_some(),
                    "{name}"
                ),
                _ => assert!(attribute(name.as_bytes()).is_some(), "{name}"),
            }
        }
    }

    #[test]
    fn nuls_are_no_part_of_a_name() {
        assert!(is_banned_tag(b"s\0cript\0"));
        assert_eq!(attribute(b"hr\0ef"), Some(Attribute::Url));
        assert!(!is_banned_tag(b"scripts") && !is_banned_tag(b"a") && attribute(b"hre").is_none());
    }
}
