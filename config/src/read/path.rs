//! Where a value stands in a document, spelled out only when somebody asks.
//!
//! Each level of the tree has its step on the stack and knows the step above. A
//! configuration of two thousand hosts has a hundred thousand values, and nearly
//! none of their paths is ever read.

use std::fmt;

/// A document path, as `routes[3].rules[0].name`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'p> {
    above: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Item(usize),
}

impl<'p> Path<'p> {
    /// The path of the root, which is empty.
    pub(super) const ROOT: Self = Self {
        above: None,
        step: Step::Root,
    };

    /// The path of the value of a key.
    pub(super) fn key(&'p self, key: &'p str) -> Self {
        self.below(Step::Key(key))
    }

    /// The path of an item of a list, from 0.
    pub(super) fn item(&'p self, index: usize) -> Self {
        self.below(Step::Item(index))
    }

    /// Whether it is the path of the root.
    pub(super) fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }

    fn below(&'p self, step: Step<'p>) -> Self {
        Self {
            above: Some(self),
            step,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) if self.above.is_none_or(Path::is_root) => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_spelled_from_the_root() {
        let root = Path::ROOT;
        let routes = root.key("routes");
        let route = routes.item(3);
        assert_eq!(root.to_string(), "");
        assert_eq!(routes.to_string(), "routes");
        let hosts = route.key("hosts");
        assert_eq!(hosts.item(0).to_string(), "routes[3].hosts[0]");
    }
}
