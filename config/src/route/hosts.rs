//! What holds for a host: exact, then the longest suffix.

use std::collections::{HashMap, hash_map::Entry};

use crate::model::HostPattern;

/// Things by host pattern.
#[derive(Clone, Debug)]
pub struct HostTable<T> {
    exact: HashMap<String, T>,
    /// By the suffix after `*.`.
    suffix: HashMap<String, T>,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            suffix: HashMap::new(),
        }
    }
}

impl<T> HostTable<T> {
    /// The place of a pattern.
    pub fn entry(&mut self, pattern: &HostPattern) -> Entry<'_, String, T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.entry(name.clone()),
            HostPattern::Suffix(suffix) => self.suffix.entry(suffix.clone()),
        }
    }

    /// Whether a name has something of its own.
    pub fn has_exact(&self, host: &str) -> bool {
        self.exact.contains_key(host)
    }

    /// Finds what holds for a host, in lower case, without port and trailing dot.
    /// A suffix covers one label or more before it.
    pub fn find(&self, host: &str) -> Option<&T> {
        if let Some(found) = self.exact.get(host) {
            return Some(found);
        }
        if !self.suffix.is_empty() {
            let mut rest = host;
            while let Some((_, suffix)) = rest.split_once('.') {
                if let Some(found) = self.suffix.get(suffix) {
                    return Some(found);
                }
                rest = suffix;
            }
        }
        None
    }

    /// Whether no host has anything.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty()
    }

    /// Everything, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.suffix.values_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_goes_before_the_longest_suffix() {
        let mut table = HostTable::default();
        for (pattern, what) in [
            (HostPattern::Exact("a.b.test".into()), 1),
            (HostPattern::Suffix("b.test".into()), 2),
            (HostPattern::Suffix("test".into()), 3),
        ] {
            table.entry(&pattern).or_insert(what);
        }
        for (host, found) in [
            ("a.b.test", Some(&1)),
            ("x.b.test", Some(&2)),
            ("x.a.b.test", Some(&2)),
            ("b.test", Some(&3)),
            ("test", None),
            ("", None),
            ("test.other", None),
        ] {
            assert_eq!(table.find(host), found, "{host}");
        }
    }
}
