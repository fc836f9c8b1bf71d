//! A key that a map does not have: what may be meant by it.

use super::{
    ingress_nginx,
    layout::{Key, Level, level, levels, plain, without_numbers},
};
use crate::read::error::{distance, nearest};

/// Levels that are named at most.
const MAX_NAMED: usize = 4;
/// Length of a word from which it says by itself what it is for.
const MIN_TELLING: usize = 5;

/// Words of other languages, by the type of the map where they are written.
const FOREIGN: [(&str, &[&str], &str); 13] = [
    (
        "Document",
        &["apiVersion", "kind", "metadata", "spec"],
        "Kubernetes objects are not read yet; what is written here are sections, as in docs/configuration.md",
    ),
    (
        "Document",
        &["upstreams", "services", "clusters"],
        "write `backends`",
    ),
    (
        "Listener",
        &["port", "bind"],
        "write `address: \"[::]:8080\"`",
    ),
    (
        "Certificate",
        &["cert", "crt", "secretName"],
        "write `certificate: FILE` and `key: FILE`",
    ),
    (
        "Rule",
        &["host"],
        "hosts are those of the route: `hosts: [...]` beside `rules`",
    ),
    (
        "Rule",
        &["http", "paths"],
        "write `matches: [{path: {prefix: /svc}}]` and `backends: [{name: NAME}]`",
    ),
    (
        "Match",
        &["pathType"],
        "write `path: {prefix: /svc}` or `path: {exact: /svc}`",
    ),
    ("HeaderMatch", &["value"], "write `exact: ...`"),
    ("ParameterMatch", &["value"], "write `exact: ...`"),
    (
        "RouteBackend",
        &["port", "service"],
        "the name is one of `backends`, whose `endpoints` have the port",
    ),
    (
        "Backend",
        &["port", "service", "servers", "targets", "url"],
        "write `endpoints: [{address: \"shop.internal:8080\"}]`",
    ),
    (
        "Endpoint",
        &["port", "host", "ip", "url"],
        "write `address: \"shop.internal:8080\"`",
    ),
    (
        "TcpRoute",
        &["policies", "rules"],
        "a TCP route reads no requests: it has `hosts`, `access`, `timeouts` and `backends` of its own",
    ),
];

/// What to do about a key that a map at a path does not have.
pub(in crate::read) fn for_key(path: &str, key: &str, known: &[&str]) -> String {
    let is_slip = |known: &&&str| plain(known) == plain(key) || distance(key, known) == 1;
    if let Some(same) = known.iter().find(is_slip) {
        return format!("did you mean {same:?}?");
    }
    let here = without_numbers(path);
    let kind = level(path).map_or("", |level| &level.kind);
    if kind == "HeaderChanges" {
        return format!("write `set: {{{key}: ...}}`, or `add`");
    }
    let mut foreign = FOREIGN.iter();
    if let Some((.., hint)) = foreign.find(|(of, keys, _)| *of == kind && keys.contains(&key)) {
        return (*hint).to_owned();
    }
    let theirs = ingress_nginx::find(key);
    // A name with a hyphen is none of ours.
    if let Some(theirs) = theirs.as_ref().filter(|_| key.contains(['-', '/'])) {
        return theirs.clone();
    }
    let nearest = nearest(key, known.iter().copied());
    let is_near = |known: &&str| distance(key, known) <= 2 || plain(known).contains(&plain(key));
    let did_you_mean = |known| format!("did you mean {known:?}?");
    same_kind(&here, key)
        .or_else(|| belongs(&below(&here, key), " here"))
        .or_else(|| belongs(&above(&here, key), ""))
        .or_else(|| nearest.filter(is_near).map(did_you_mean))
        .or_else(|| belongs(&elsewhere(&here, key), ""))
        .or_else(|| nearest.map(did_you_mean))
        .or(theirs)
        .unwrap_or_else(|| format!("known keys: {}", known.join(", ")))
}

/// The levels that have a key, each with it.
fn with_key(key: &str) -> impl Iterator<Item = (&'static Level, &'static Key)> {
    levels()
        .iter()
        .filter_map(move |level| Some((level, level.key(key)?)))
}

/// What stands here is of the kind that the key has elsewhere: `affinity` of a
/// backend is `sticky` of a rule, and `defaults` are `policies`.
fn same_kind(here: &str, key: &str) -> Option<String> {
    let level = level(here)?;
    let kinds = || with_key(key).map(|(_, known)| known.kind.as_str());
    let mut kinds = kinds().filter(|kind| is_map(kind));
    kinds.find_map(|kind| {
        if level.kind == kind {
            return Some(format!(
                "its keys stand here by themselves, without `{key}`"
            ));
        }
        let same = level.keys.iter().find(|known| known.kind == kind)?;
        Some(format!("did you mean {:?}?", same.name))
    })
}

/// Whether a type is that of a map with keys.
fn is_map(kind: &str) -> bool {
    !kind.is_empty() && levels().iter().any(|level| level.kind == kind)
}

/// Levels below this one, the outer ones first.
fn below(here: &str, key: &str) -> Vec<String> {
    if here.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<&str> = with_key(key)
        .filter_map(|(level, _)| level.path.strip_prefix(here)?.strip_prefix('.'))
        .collect();
    found.sort_by_key(|path| path.matches('.').count());
    let named = |path| format!("`{path}`");
    found.into_iter().map(named).collect()
}

/// The nearest level above this one.
fn above(here: &str, key: &str) -> Vec<String> {
    let above = with_key(key).filter(|(level, _)| {
        let rest = here.strip_prefix(level.path.as_str());
        rest.is_some_and(|rest| level.path.is_empty() || rest.starts_with('.'))
            && here != level.path
    });
    let nearest = above.max_by_key(|(level, _)| level.path.len());
    nearest.map(|(level, _)| named(level)).into_iter().collect()
}

/// Levels anywhere else; what policies have is named once. A short word with a plain
/// value, as `file`, may mean anything.
fn elsewhere(here: &str, key: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (level, known) in with_key(key) {
        if key.len() < MIN_TELLING && known.kind.is_empty() {
            continue;
        }
        let label = match policies(&level.path) {
            Some(rest) if here.is_empty() => {
                format!("`defaults{rest}`, or `policies{rest}` of a route or rule")
            }
            Some(rest) => format!("`policies{rest}` of a route or rule"),
            None => named(level),
        };
        if !found.contains(&label) {
            found.push(label);
        }
    }
    found
}

/// What follows in a path below the policies of requests.
fn policies(path: &str) -> Option<&str> {
    let levels = ["defaults", "routes[].policies", "routes[].rules[].policies"];
    levels.iter().find_map(|level| path.strip_prefix(level))
}

fn named(level: &Level) -> String {
    match level.path.as_str() {
        "" => "the top level".to_owned(),
        path => format!("`{path}`"),
    }
}

/// Where a key belongs; nothing where it may belong anywhere.
fn belongs(levels: &[String], from: &str) -> Option<String> {
    let (last, others) = levels.split_last()?;
    if others.len() >= MAX_NAMED {
        return None;
    }
    let word = match last.as_str() {
        "the top level" => "at",
        _ => "under",
    };
    let or = match others.iter().any(|other| other.contains(" or ")) {
        true => ", or",
        false => " or",
    };
    Some(match others.is_empty() {
        true => format!("it belongs {word} {last}{from}"),
        false => format!("it belongs {word} {}{or} {last}{from}", others.join(", ")),
    })
}
