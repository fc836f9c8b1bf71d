//! The route table.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::model::{Route, Rule};

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
}

/// A rule and how it was reached.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Bytes of the canonical path that a prefix match covered; 0 for other matches.
    pub prefix_len: usize,
}

/// All routes, ordered for look-up.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {}

impl RouteTable {
    /// Orders routes for look-up.
    pub fn new(_routes: &[Route]) -> Self {
        Self {}
    }

    /// Finds the rule for a request.
    pub fn find(&self, _request: RouteRequest<'_>) -> Option<RouteMatch> {
        None
    }
}
