//! From destinations to entries of a policy.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use portcullis_config::public_suffix::is_public;

use super::collector::{Found, Target};

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
    /// Requests with other methods than those, which it does not let pass.
    pub unlisted: u64,
    /// How often it was seen.
    pub times: u64,
    /// The names that it was joined from.
    pub joined: Vec<String>,
}

/// What entries must agree in to be one.
type Needs = (BTreeSet<u16>, BTreeSet<String>, bool);

/// What an entry is for, but for its ports.
type Kind<'t> = (&'t Target, bool, bool, BTreeSet<String>, bool);

/// Makes the entries that cover all destinations but those that are looked into, names before the
/// wildcards above them.
pub(super) fn entries(found: &Found, wildcard_from: Option<usize>) -> Vec<Entry> {
    let mut grouped: BTreeMap<Kind<'_>, (BTreeSet<u16>, u64, u64)> = BTreeMap::new();
    for (destination, facts) in &found.destinations {
        if found.looks_into(destination) {
            continue;
        }
        let methods = facts.listed_methods();
        let key = (
            &destination.host,
            facts.raw,
            facts.private,
            methods,
            facts.originated_tls,
        );
        let (ports, times, unlisted) = grouped.entry(key).or_default();
        ports.insert(destination.port);
        *times += facts.times;
        *unlisted += facts.unlisted();
    }
    let mut entries: Vec<Entry> = grouped
        .into_iter()
        .map(
            |((target, raw, private, methods, originated_tls), (ports, times, unlisted))| Entry {
                target: target.clone(),
                ports,
                raw,
                private,
                methods,
                originated_tls,
                unlisted,
                times,
                joined: Vec::new(),
            },
        )
        .collect();
    if let Some(from) = wildcard_from {
        entries = joined(entries, &above_looked_into(found), from);
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
/// is raw or private is not joined: a wildcard would open that for names that need it not. Nor are names
/// beside one that is looked into, whose tunnels it would open unseen: `kept_apart` has what is above those.
fn joined(entries: Vec<Entry>, kept_apart: &BTreeSet<(&str, u16)>, from: usize) -> Vec<Entry> {
    let mut families: BTreeMap<(String, Needs), Vec<Entry>> = BTreeMap::new();
    let mut rest = Vec::new();
    for entry in entries {
        let is_joined = !entry.raw && !entry.private;
        let is_above = |parent: &String| {
            let mut ports = entry.ports.iter();
            ports.any(|port| kept_apart.contains(&(parent.as_str(), *port)))
        };
        let parent = parent(&entry.target).filter(|_| is_joined);
        match parent.filter(|parent| !is_above(parent)) {
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
            unlisted: members.iter().map(|member| member.unlisted).sum(),
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

/// Every name above one that is looked into, with the port.
fn above_looked_into(found: &Found) -> BTreeSet<(&str, u16)> {
    let mut all = BTreeSet::new();
    for (destination, _) in &found.looked_into {
        let Target::Name(name) = &destination.host else {
            continue;
        };
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            all.insert((parent, destination.port));
            rest = parent;
        }
    }
    all
}

/// The name above a name, where a wildcard may stand right below it: never for a public suffix,
/// below which names are of different owners.
fn parent(target: &Target) -> Option<String> {
    let Target::Name(name) = target else {
        return None;
    };
    let (_, parent) = name.split_once('.')?;
    (!is_public(parent)).then(|| parent.to_owned())
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
    use super::{
        super::collector::{Destination, Facts},
        *,
    };

    /// `host:port`, with `!` in front for raw, `~` for private, `?` for a plain GET, `^` for one
    /// that is sent over TLS and `=` for a tunnel that is looked into.
    fn made(seen: &[&str], from: Option<usize>) -> Vec<String> {
        let mut found = Found::default();
        for text in seen {
            let host = text.trim_start_matches(['!', '~', '?', '^', '=']);
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
                    .then(|| ("GET".to_owned(), 1))
                    .into_iter()
                    .collect(),
                requests: text.contains('?').into(),
            };
            let destination = Destination { host, port };
            if text.contains('=') {
                found.looked_into.insert((destination.clone(), None));
            }
            found.destinations.insert(destination, facts);
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
        entries(&found, from).iter().map(show).collect()
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
        for suffix in ["com", "co.uk", "github.io", "internal", "elb.amazonaws.com"] {
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

    #[test]
    fn what_is_looked_into_has_no_entry_and_no_wildcard_above_it() {
        let seen = [
            "a.x.example.com:443",
            "b.x.example.com:443",
            "=c.d.x.example.com:443",
        ];
        let apart: Vec<String> = ["a", "b"]
            .map(|name| format!("{name}.x.example.com {{443}} 1"))
            .into();
        assert_eq!(made(&seen, None), apart);
        assert_eq!(made(&seen, Some(2)), apart);
        // On another port, and beside it, nothing is looked into.
        let others = [
            "a.x.example.com:80",
            "b.x.example.com:80",
            "a.y.example.com:443",
            "b.y.example.com:443",
        ];
        assert_eq!(
            made(&[&others[..], &seen[2..]].concat(), Some(2)),
            ["*.x.example.com {80} 2", "*.y.example.com {443} 2"]
        );
        assert_eq!(
            made(&["=x.example.com:443", "x.example.com:80"], None),
            ["x.example.com {80} 1"]
        );
    }
}
