//! Plain requests that are sent over TLS.

use super::{Authority, EgressRule, Request, Selected};
use crate::document::EgressMode;

/// The port of HTTP in clear, and that of HTTPS (RFC 9110 section 4.2).
const CLEAR: u16 = 80;
const TLS: u16 = 443;

impl Selected<'_> {
    /// Where a plain request is sent over TLS: to the destination that an entry with `originateTls`
    /// names, whatever its methods and paths and in whatever mode. What is decided on from then on is
    /// a request of TLS to that destination, so it goes there or nowhere.
    pub fn originated(&self, request: Request<'_>) -> Option<Authority> {
        request.http.filter(|seen| !seen.tls)?;
        let asked = request.authority;
        let authority = Authority {
            host: asked.host.clone(),
            port: match asked.port {
                CLEAR => TLS,
                other => other,
            },
        };
        let over_tls = Request {
            authority: &authority,
            ..request
        };
        let originates = |rule: &EgressRule| rule.originates_tls && rule.covers(over_tls);
        let allows = self.all().map(|(policy, _)| &policy.allow);
        // What does not act takes nothing away.
        let floors = self.cluster.iter();
        let floors = floors.filter(|floor| floor.mode == EgressMode::Enforce);
        let left = floors.filter_map(|floor| floor.delegate.as_ref()?.allow.as_ref());
        let mut lists = allows.chain(left);
        let is_named = lists.any(|rules| rules.first(&authority.host, originates).is_some());
        is_named.then_some(authority)
    }
}
