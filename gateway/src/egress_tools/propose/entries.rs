//! From destinations to entries of a policy.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::collector::{Destination, Facts, Target};

/// An entry of `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// What it names.
    pub target: Target,
    /// Its ports, all of which were seen.
    pub ports: BTreeSet<u16>,
    /// Whether a tunnel may carry something other than TLS.
    pub raw: bool,
    /// Whether private addresses may be reached.
    pub private: bool,
    /// Methods of plain requests; none means all, and tunnels.
    pub methods: BTreeSet<String>,
    /// Whether plain requests are sent over TLS.
    pub originated_tls: bool,
    /// How often it was seen.
    pub times: u64,
    /// The names that it was joined from.
    pub joined: Vec<String>,
}

/// What entries must agree in to be one.
type Needs = (BTreeSet<u16>, BTreeSet<String>, bool);

/// What an entry is for, but for its ports.
type Kind<'t> = (&'t Target, bool, bool, BTreeSet<String>, bool);

/// Makes the entries that cover all destinations, names before the wildcards above them.
pub(super) fn entries(
    destinations: &BTreeMap<Destination, Facts>,
    wildcard_from: Option<usize>,
) -> Vec<Entry> {
    let mut grouped: BTreeMap<Kind<'_>, (BTreeSet<u16>, u64)> = BTreeMap::new();
    for (destination, facts) in destinations {
        let methods = facts.listed_methods();
        let key = (
            &destination.host,
            facts.raw,
            facts.private,
            methods,
            facts.originated_tls,
        );
        let (ports, times) = grouped.entry(key).or_default();
        ports.insert(destination.port);
        *times += facts.times;
    }
    let mut entries: Vec<Entry> = grouped
        .into_iter()
        .map(
            |((target, raw, private, methods, originated_tls), (ports, times))| Entry {
                target: target.clone(),
                ports,
                raw,
                private,
                methods,
                originated_tls,
                times,
                joined: Vec::new(),
            },
        )
        .collect();
    if let Some(from) = wildcard_from {
        entries = joined(entries, from);
    }
    entries.sort_by_cached_key(|entry| {
        let labels = match &entry.target {
            Target::Below(parent) => parent.split('.').count(),
            Target::Name(_) | Target::Address(_) => 0,
        };
        let kind = match entry.target {
            Target::Name(_) => 0,
            Target::Below(_) => 1,
            Target::Address(_) => 2,
        };
        let rest = (entry.target.clone(), entry.ports.clone());
        (kind, Reverse(labels), rest)
    });
    entries
}

/// Joins names below one parent that need the same. What a wildcard covers is then left out. What
/// is raw or private is not joined: a wildcard would open that for names that need it not.
fn joined(entries: Vec<Entry>, from: usize) -> Vec<Entry> {
    let mut families: BTreeMap<(String, Needs), Vec<Entry>> = BTreeMap::new();
    let mut rest = Vec::new();
    for entry in entries {
        let is_joined = !entry.raw && !entry.private;
        match parent(&entry.target).filter(|_| is_joined) {
            Some(parent) => {
                let methods = entry.methods.clone();
                let needs = (entry.ports.clone(), methods, entry.originated_tls);
                families.entry((parent, needs)).or_default().push(entry);
            }
            None => rest.push(entry),
        }
    }
    let mut wildcards: Vec<Entry> = Vec::new();
    for ((parent, (ports, methods, originated_tls)), members) in families {
        if members.len() < from {
            rest.extend(members);
            continue;
        }
        wildcards.push(Entry {
            target: Target::Below(parent),
            ports,
            raw: false,
            private: false,
            methods,
            originated_tls,
            times: members.iter().map(|member| member.times).sum(),
            joined: members
                .iter()
                .filter_map(|member| name_of(&member.target))
                .collect(),
        });
    }
    let all: Vec<Entry> = rest.into_iter().chain(wildcards.iter().cloned()).collect();
    let is_covered = |entry: &Entry| wildcards.iter().any(|wildcard| wildcard.covers(entry));
    all.into_iter().filter(|entry| !is_covered(entry)).collect()
}

/// The name above a name, where a wildcard may stand right below it: never for a public suffix,
/// below which names are of different owners.
fn parent(target: &Target) -> Option<String> {
    let Target::Name(name) = target else {
        return None;
    };
    let (_, parent) = name.split_once('.')?;
    (psl::suffix_str(parent) != Some(parent)).then(|| parent.to_owned())
}

fn name_of(target: &Target) -> Option<String> {
    match target {
        Target::Name(name) => Some(name.clone()),
        Target::Below(_) | Target::Address(_) => None,
    }
}

impl Entry {
    /// Whether this wildcard lets pass all that another entry does.
    fn covers(&self, other: &Self) -> bool {
        let Target::Below(parent) = &self.target else {
            return false;
        };
        let (Target::Name(below) | Target::Below(below)) = &other.target else {
            return false;
        };
        let is_below = below
            .strip_suffix(parent.as_str())
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
        is_below
            && self.raw == other.raw
            && self.private == other.private
            && self.methods == other.methods
            && self.originated_tls == other.originated_tls
            && self.ports.is_superset(&other.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `host:port`, with `!` in front for raw, `~` for private, `?` for a plain GET and `^` for one
    /// that is sent over TLS.
    fn made(seen: &[&str], from: Option<usize>) -> Vec<String> {
        let mut destinations = BTreeMap::new();
        for text in seen {
            let host = text.trim_start_matches(['!', '~', '?', '^']);
            let (host, port) = host.rsplit_once(':').expect("a port");
            let host = match host.parse() {
                Ok(address) => Target::Address(address),
                Err(_) => Target::Name(host.into()),
            };
            let port = port.parse().expect("a port");
            let facts = Facts {
                times: 1,
                raw: text.contains('!'),
                private: text.contains('~'),
                originated_tls: text.contains('^'),
                tunnel: !text.contains('?'),
                methods: text
                    .contains('?')
                    .then(|| "GET".to_owned())
                    .into_iter()
                    .collect(),
            };
            destinations.insert(Destination { host, port }, facts);
        }
        let show = |entry: &Entry| {
            let target = match &entry.target {
                Target::Name(name) => name.clone(),
                Target::Below(parent) => format!("*.{parent}"),
                Target::Address(address) => address.to_string(),
            };
            let raw = if entry.raw { "!" } else { "" };
            let private = if entry.private { "~" } else { "" };
            let plain = if entry.methods.is_empty() { "" } else { "?" };
            let tls = if entry.originated_tls { "^" } else { "" };
            format!(
                "{tls}{raw}{private}{plain}{target} {:?} {}",
                entry.ports, entry.times
            )
        };
        entries(&destinations, from).iter().map(show).collect()
    }

    #[test]
    fn ports_are_those_that_were_seen_with_what_they_need() {
        assert_eq!(
            made(
                &[
                    "9.9.9.9:443",
                    "b.example:443",
                    "b.example:80",
                    "!b.example:22",
                    "a.example:443",
                    "~a.example:8443",
                    "?p.example:80",
                    "p.example:443",
                    "^?t.example:443",
                    "^t.example:8443"
                ],
                None
            ),
            [
                "a.example {443} 1",
                "~a.example {8443} 1",
                "!b.example {22} 1",
                "b.example {80, 443} 2",
                "?p.example {80} 1",
                "p.example {443} 1",
                "^?t.example {443} 1",
                "^t.example {8443} 1",
                "9.9.9.9 {443} 1"
            ]
        );
    }

    #[test]
    fn names_are_joined_only_where_that_is_asked_for_and_they_need_the_same() {
        let seen = [
            "a.x.example.com:443",
            "b.x.example.com:443",
            "c.x.example.com:443",
        ];
        let apart: Vec<String> = ["a", "b", "c"]
            .map(|name| format!("{name}.x.example.com {{443}} 1"))
            .into();
        assert_eq!(made(&seen, None), apart);
        assert_eq!(made(&seen, Some(4)), apart);
        assert_eq!(made(&seen, Some(3)), ["*.x.example.com {443} 3"]);
        // The name itself is not below itself, and others need other things.
        let more = [
            "x.example.com:443",
            "d.x.example.com:80",
            "!e.x.example.com:443",
        ];
        assert_eq!(
            made(&[seen.as_slice(), &more].concat(), Some(3)),
            [
                "d.x.example.com {80} 1",
                "!e.x.example.com {443} 1",
                "x.example.com {443} 1",
                "*.x.example.com {443} 3"
            ]
        );
    }

    #[test]
    fn nothing_is_joined_below_a_public_suffix() {
        for suffix in ["com", "co.uk", "github.io", "internal"] {
            let seen = ["a", "b"].map(|name| format!("{name}.{suffix}:443"));
            let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
            assert_eq!(made(&seen, Some(2)).len(), 2, "{suffix}");
        }
        assert_eq!(made(&["a:443", "b:443"], Some(2)).len(), 2);
        assert_eq!(made(&["1.1.1.1:443", "2.1.1.1:443"], Some(2)).len(), 2);
    }

    #[test]
    fn a_wildcard_takes_what_it_covers_and_stands_behind_what_needs_more() {
        assert_eq!(
            made(
                &[
                    "a.example.com:443",
                    "b.example.com:443",
                    "a.b.example.com:443",
                    "c.b.example.com:443",
                    "!a.z.example.com:443",
                    "!b.z.example.com:443",
                    "d.e.example.com:80"
                ],
                Some(2)
            ),
            [
                // A wildcard would let c.z.example.com carry anything as well.
                "!a.z.example.com {443} 1",
                "!b.z.example.com {443} 1",
                "d.e.example.com {80} 1",
                "*.example.com {443} 2"
            ]
        );
    }
}
