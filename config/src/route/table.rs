//! The route table.
//!
//! ```text
//! listener -> host (exact, then the longest suffix, of one length that for one label, then any) -> path -> method, headers, cookies, query
//! ```
//!
//! A host that is found is the only one that is looked at: a request that none
//! of its rules takes is not handed to a broader host.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use http::{HeaderMap, Method};
use regex::Regex;

use super::{HostTable, condition};
use crate::model::{HeaderMatch, HostPattern, Match, ParameterMatch, PathMatch, Route, Rule};

/// What the route table looks at.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// Name of the listener the request came in on.
    pub listener: &'a str,
    /// Host, lower case, without port or trailing dot; empty when there is none.
    pub host: &'a str,
    /// Canonical path.
    pub path: &'a str,
    /// Method.
    pub method: &'a Method,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// The query as it was sent, without its `?`.
    pub query: Option<&'a [u8]>,
}

/// A rule and how it was reached.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// The rule.
    pub rule: Arc<Rule>,
    /// By which kind of path.
    pub reached: Reached,
}

/// The kind of path by which a rule was found.
#[derive(Clone, Debug, Default)]
pub enum Reached {
    /// The whole path.
    #[default]
    Exact,
    /// A prefix, of so many bytes of the canonical path.
    Prefix(usize),
    /// A regular expression.
    Regex(Arc<Regex>),
}

/// All routes, ordered for look-up.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Routes of every listener that some route names.
    named: HashMap<String, Hosts>,
    /// Routes of the other listeners.
    any: Hosts,
}

/// The hosts of one listener.
#[derive(Clone, Debug, Default)]
struct Hosts {
    named: HostTable<Paths>,
    /// By the suffix after `*.`, for hosts with one label before it.
    single_label: HashMap<String, Paths>,
    any: Option<Paths>,
}

/// The rules of one host by path.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<String, Vec<Candidate>>,
    /// Longest pattern first, each with one candidate.
    regex: Vec<(Arc<Regex>, Candidate)>,
    prefix: HashMap<String, Vec<Candidate>>,
}

/// A rule under one path, with its further conditions.
#[derive(Clone, Debug)]
struct Candidate {
    method: Option<Method>,
    headers: Vec<HeaderMatch>,
    cookies: Vec<ParameterMatch>,
    query: Vec<ParameterMatch>,
    rule: Arc<Rule>,
}

impl RouteTable {
    /// Orders routes for look-up.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let mut table = Self::default();
        for name in routes.iter().flat_map(|route| &route.listeners) {
            table.named.entry(name.clone()).or_default();
        }
        for (listener, hosts) in &mut table.named {
            for route in routes
                .iter()
                .filter(|route| route.listeners.is_empty() || route.listeners.contains(listener))
            {
                hosts.add(route);
            }
            hosts.sort();
        }
        for route in routes.iter().filter(|route| route.listeners.is_empty()) {
            table.any.add(route);
        }
        table.any.sort();
        table
    }

    /// Finds the rule for a request.
    pub fn find(&self, request: RouteRequest<'_>) -> Option<RouteMatch> {
        self.named
            .get(request.listener)
            .unwrap_or(&self.any)
            .paths(request.host)?
            .find(request)
    }
}

impl Hosts {
    fn add(&mut self, route: &Route) {
        if route.hosts.is_empty() {
            self.any.get_or_insert_default().add(route);
        }
        for host in &route.hosts {
            match host {
                HostPattern::Suffix(suffix) if route.single_label => {
                    let paths = self.single_label.entry(suffix.clone());
                    paths.or_default().add(route);
                }
                _ => self.named.entry(host).or_default().add(route),
            }
        }
    }

    fn sort(&mut self) {
        let single_label = self.single_label.values_mut();
        for paths in self
            .named
            .values_mut()
            .chain(single_label)
            .chain(&mut self.any)
        {
            paths.sort();
        }
    }

    fn paths(&self, host: &str) -> Option<&Paths> {
        // No suffix is longer than what stands behind the first label.
        if !self.single_label.is_empty()
            && !self.named.has_exact(host)
            && let Some((_, suffix)) = host.split_once('.')
            && let Some(found) = self.single_label.get(suffix)
        {
            return Some(found);
        }
        self.named.find(host).or(self.any.as_ref())
    }
}

impl Paths {
    fn add(&mut self, route: &Route) {
        for (matches, rule) in &route.rules {
            for Match {
                path,
                method,
                headers,
                cookies,
                query,
            } in matches
            {
                let candidate = Candidate {
                    method: method.clone(),
                    headers: headers.clone(),
                    cookies: cookies.clone(),
                    query: query.clone(),
                    rule: Arc::clone(rule),
                };
                // Most paths have one rule, and there may be many paths.
                let one = || Vec::with_capacity(1);
                match path {
                    PathMatch::Exact(path) => {
                        let known = self.exact.entry(path.clone());
                        known.or_insert_with(one).push(candidate);
                    }
                    PathMatch::Prefix(prefix) => {
                        let known = self.prefix.entry(prefix.clone());
                        known.or_insert_with(one).push(candidate);
                    }
                    PathMatch::Regex(regex) => self.regex.push((regex.clone(), candidate)),
                }
            }
        }
    }

    /// Orders by what is more specific; the sorts are stable, so ties stay in
    /// document order. Patterns of one length with the same conditions go by
    /// their text, so that the order of the routes decides only between equals.
    fn sort(&mut self) {
        self.regex.sort_by(|(a, x), (b, y)| {
            (b.as_str().len().cmp(&a.as_str().len()))
                .then_with(|| x.precedence().cmp(&y.precedence()))
                .then_with(|| a.as_str().cmp(b.as_str()))
        });
        for candidates in self.exact.values_mut().chain(self.prefix.values_mut()) {
            candidates.sort_by_key(Candidate::precedence);
        }
    }

    fn find(&self, request: RouteRequest<'_>) -> Option<RouteMatch> {
        let path = request.path;
        let matched = |candidates: &Vec<Candidate>, reached| {
            let candidate = candidates
                .iter()
                .find(|candidate| candidate.matches(request))?;
            Some(RouteMatch {
                rule: Arc::clone(&candidate.rule),
                reached,
            })
        };
        if let Some(found) = self
            .exact
            .get(path)
            .and_then(|candidates| matched(candidates, Reached::Exact))
        {
            return Some(found);
        }
        // The cheap conditions first: a pattern is the dearest of them.
        let regex = self
            .regex
            .iter()
            .find(|(regex, candidate)| candidate.matches(request) && regex.is_match(path));
        if let Some((regex, candidate)) = regex {
            return Some(RouteMatch {
                rule: Arc::clone(&candidate.rule),
                reached: Reached::Regex(Arc::clone(regex)),
            });
        }
        // Whole segments, the longest first: "/a/b", "/a", "".
        let mut end = path.strip_suffix('/').unwrap_or(path).len();
        loop {
            let prefix = &path[..end];
            if let Some(found) = self
                .prefix
                .get(prefix)
                .and_then(|candidates| matched(candidates, Reached::Prefix(end)))
            {
                return Some(found);
            }
            end = prefix.rfind('/')?;
        }
    }
}

impl Candidate {
    /// Sorts the more specific first: with a method, then with more headers (a cookie
    /// is a part of one), then with more query parameters (Gateway API HTTPRouteRule).
    fn precedence(&self) -> (bool, Reverse<usize>, Reverse<usize>) {
        let headers = self.headers.len() + self.cookies.len();
        (
            self.method.is_none(),
            Reverse(headers),
            Reverse(self.query.len()),
        )
    }

    fn matches(&self, request: RouteRequest<'_>) -> bool {
        self.method
            .as_ref()
            .is_none_or(|method| method == request.method)
            && self
                .headers
                .iter()
                .all(|header| condition::header(header, request.headers))
            && self
                .cookies
                .iter()
                .all(|cookie| condition::cookie(cookie, request.headers))
            && self
                .query
                .iter()
                .all(|parameter| condition::query(parameter, request.query))
    }
}

#[cfg(test)]
mod tests;
