//! Where each part of a document came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::node::Node;
use crate::{
    document::{CONFIG_MAP_SCHEME, SECRET_SCHEME},
    problem::Origin,
};

/// Where each part of a document came from: document path to origin.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// What was read, every value with its place.
    pub(super) tree: Option<Node>,
    /// Items that were added to what was read, by their list and their index in it.
    noted: BTreeMap<&'static str, Vec<Option<ItemOrigin>>>,
    /// Lists with items that could not be read; references into them are not judged.
    pub(super) incomplete: BTreeSet<String>,
}

/// Where an item came from that was made of an object. There are thousands of them, and nearly
/// none is ever asked for.
#[derive(Clone, Debug)]
pub struct ItemOrigin {
    /// The item as a whole.
    pub whole: Origin,
    /// Fields of the same object that its rules stand in.
    pub rules: Vec<String>,
    /// Its policies, where they are those of another object.
    pub policies: Option<Origin>,
    /// Whether its parts are named in the object as they are in the document.
    pub is_alike: bool,
}

impl ItemOrigin {
    /// Of an item without parts.
    pub fn of(whole: Origin) -> Self {
        Self {
            whole,
            rules: Vec::new(),
            policies: None,
            is_alike: false,
        }
    }

    /// Of an item that is a field of an object, and has the parts that this has.
    pub fn alike(field: Origin) -> Self {
        Self {
            is_alike: true,
            ..Self::of(field)
        }
    }

    /// The origin of a part, by what follows the item in its path.
    fn locate(&self, part: &str) -> Origin {
        let policies = part.strip_prefix(".policies");
        if let (Some(origin), Some(rest)) = (&self.policies, policies)
            && (rest.is_empty() || rest.starts_with(['.', '[']))
        {
            return origin.clone();
        }
        let rule = part.strip_prefix(".rules[").and_then(|rest| {
            let (index, _) = rest.split_once(']')?;
            self.rules.get(index.parse::<usize>().ok()?)
        });
        match (self.whole.clone(), rule) {
            (
                Origin::Object {
                    kind,
                    namespace,
                    name,
                    ..
                },
                Some(field),
            ) => Origin::Object {
                kind,
                namespace,
                name,
                field: field.clone(),
            },
            (
                Origin::Object {
                    kind,
                    namespace,
                    name,
                    field,
                },
                None,
            ) if self.is_alike => Origin::Object {
                kind,
                namespace,
                name,
                field: format!("{field}{part}"),
            },
            (whole, _) => whole,
        }
    }
}

impl Origins {
    /// Notes where an item of a list came from, by the path of the list, which is in no other, and
    /// its index.
    pub fn note(&mut self, list: &'static str, index: usize, origin: ItemOrigin) {
        let items = self.noted.entry(list).or_default();
        if items.len() <= index {
            items.resize(index + 1, None);
        }
        items[index] = Some(origin);
    }

    /// Finds the origin of a document path, or of its nearest ancestor that has one.
    pub fn locate(&self, path: &str) -> Origin {
        match self.noted(path) {
            Some((item, part)) => item.locate(part),
            None => self
                .tree
                .as_ref()
                .map_or(Origin::Internal, |tree| tree.place_of(path).origin()),
        }
    }

    /// Whether a part of the document was made of an object.
    pub fn is_of_object(&self, path: &str) -> bool {
        self.noted(path)
            .is_some_and(|(item, _)| matches!(item.whole, Origin::Object { .. }))
    }

    /// The item that a path is in or names, and the rest of the path.
    fn noted<'p>(&self, path: &'p str) -> Option<(&ItemOrigin, &'p str)> {
        let (list, rest) = path.split_once('[')?;
        let items = self.noted.get(list)?;
        let (index, part) = rest.split_once(']')?;
        let item = items.get(index.parse::<usize>().ok()?)?.as_ref()?;
        Some((item, part))
    }

    /// Tells whether items of a top-level list were left out because they could
    /// not be read, so that a name may be missing for that reason.
    pub fn is_incomplete(&self, list: &str) -> bool {
        self.incomplete.contains(list)
    }

    /// Tells whether nothing was left out because it could not be read.
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// The folder that files named in a part of the document are relative to; none for what was
    /// made of an object.
    pub fn folder(&self, path: &str) -> Option<PathBuf> {
        match self.locate(path) {
            Origin::File { file, .. } => Path::new(&file).parent().map(Path::to_owned),
            Origin::Object { .. } | Origin::Internal => None,
        }
    }

    /// Resolves a file named in the document against the folder of the file that names it.
    /// A key of a Secret or a ConfigMap is the same for all of them.
    pub fn resolve(&self, path: &str, file: &str) -> PathBuf {
        let of_cluster = [SECRET_SCHEME, CONFIG_MAP_SCHEME];
        if of_cluster.iter().any(|scheme| file.starts_with(scheme)) {
            return file.into();
        }
        self.folder(path)
            .map_or_else(|| file.into(), |folder| folder.join(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, field: &str) -> Origin {
        Origin::Object {
            kind: "Ingress".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            field: field.to_owned(),
        }
    }

    #[test]
    fn parts_of_an_item_have_its_origin_or_their_own() {
        let mut origins = Origins::default();
        let item = ItemOrigin {
            whole: object("web", "spec.rules[0]"),
            rules: vec!["spec.rules[0].http.paths[2]".to_owned()],
            policies: Some(object("policies", "")),
            is_alike: false,
        };
        origins.note("routes", 1, item);
        let policy = ItemOrigin::alike(object("builds", "spec"));
        origins.note("egress.policies", 2, policy);
        let web = object("web", "spec.rules[0]");
        for (path, expected) in [
            ("routes[1]", web.clone()),
            ("routes[1].hosts[0]", web.clone()),
            ("routes[1].policies", object("policies", "")),
            ("routes[1].policies.access[0]", object("policies", "")),
            ("routes[1].policiesElse", web.clone()),
            (
                "routes[1].rules[0].backends[0].name",
                object("web", "spec.rules[0].http.paths[2]"),
            ),
            ("routes[1].rules[7]", web),
            (
                "egress.policies[2].allow[1].ports",
                object("builds", "spec.allow[1].ports"),
            ),
            ("egress.policies[1]", Origin::Internal),
            ("routes[0]", Origin::Internal),
            ("routes[2]", Origin::Internal),
            ("routes[x]", Origin::Internal),
            ("routes", Origin::Internal),
            ("backends[1]", Origin::Internal),
        ] {
            assert_eq!(origins.locate(path), expected, "{path}");
            let is_of_object = matches!(expected, Origin::Object { .. });
            assert_eq!(origins.is_of_object(path), is_of_object, "{path}");
        }
    }
}
