//! Files that say `policies` and nothing else: those of some routes, kept apart from the document.

use super::{
    Origins, SourceFile,
    node::{Node, Place, Value},
    parts, tree,
};
use crate::{
    document::Policies,
    problem::{Origin, Problem, Severity},
};

/// The key that such files have.
const KEY: &str = "policies";
/// The section of a document that has the same keys.
const SECTION: &str = "defaults";

/// What such files say, with what was wrong while reading it.
#[derive(Clone, Debug)]
pub struct PoliciesRead {
    /// The policies; none where they do not stand there, or where anything has an error:
    /// policies without one that was meant are others.
    pub policies: Option<Policies>,
    /// Where they stand.
    pub origin: Origin,
    /// Everything wrong.
    pub problems: Vec<Problem>,
}

/// Reads files that say `policies` and nothing else, within the bounds of [`read`](super::read).
pub fn read_policies(files: &[SourceFile]) -> PoliciesRead {
    let mut problems = Vec::new();
    let root = tree(files, &mut problems);
    let mut origin = Origin::Internal;
    let mut kept = Vec::new();
    if let Value::Mapping(entries) = root.value {
        for (mut key, node) in entries {
            if key.text == KEY && node.is_null() {
                // As good as not there, which is for the caller to judge.
            } else if key.text == KEY {
                origin = key.place.origin();
                SECTION.clone_into(&mut key.text);
                kept.push((key, node));
            } else {
                let reason = format!("the key {:?} does not stand here", key.text);
                let hint = Some("there is `policies`, and nothing else");
                problems.push(key.place.error(&key.text, reason, hint));
            }
        }
    }
    let place = Place::nowhere();
    let value = Value::Mapping(kept);
    let mut origins = Origins::default();
    let known = problems.len();
    let document = parts::document(Node { value, place }, &mut origins, &mut problems);
    for problem in &mut problems[known..] {
        if let Some(rest) = problem.path.strip_prefix(SECTION) {
            problem.path = format!("{KEY}{rest}");
        }
    }
    problems.sort_by(|a, b| a.origin.cmp(&b.origin));
    let is_whole = problems
        .iter()
        .all(|problem| problem.severity == Severity::Warning);
    PoliciesRead {
        policies: document.defaults.filter(|_| is_whole),
        origin,
        problems,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PoliciesRead {
        read_policies(&[SourceFile {
            name: "a.yaml".into(),
            text: text.into(),
        }])
    }

    #[test]
    fn policies_are_read_with_their_place() {
        let read = read("# Of a class.\npolicies: {access: [office], maxBodySize: 1MiB}\n");
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        let policies = read.policies.expect("policies");
        assert_eq!(policies.access, Some(vec!["office".to_owned()]));
        assert_eq!(read.origin.to_string(), "a.yaml:2:1");
    }

    #[test]
    fn with_an_error_there_are_none() {
        for (text, expected) in [
            (
                "policies: {acess: [office]}",
                "a.yaml:1:12: error: policies.acess: ",
            ),
            (
                "policies:\n  access: office\n",
                "a.yaml:2:11: error: policies.access: ",
            ),
            (
                "policies: {access: [office]}\ndefaults: {}\n",
                "a.yaml:2:1: error: defaults: the key \"defaults\" does not stand here",
            ),
            ("policies: {access: [office]", "a.yaml:"),
            ("- policies", "a.yaml:1:1: error: "),
        ] {
            let read = read(text);
            assert!(read.policies.is_none(), "{text}");
            let told: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
            assert!(
                told.iter().any(|told| told.starts_with(expected)),
                "{text}: {told:?}"
            );
        }
        for text in ["", "policies:", "{}"] {
            let read = read(text);
            assert!(
                read.policies.is_none() && read.problems.is_empty(),
                "{text:?}: {read:?}"
            );
        }
    }
}
