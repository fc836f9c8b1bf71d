//! Plain requests that are sent over TLS.

use super::{Authority, EgressPolicy, EgressRule, Request, Selected};
use crate::document::EgressMode;

/// The port of HTTP in clear, and that of HTTPS (RFC 9110 section 4.2).
const CLEAR: u16 = 80;
const TLS: u16 = 443;

impl<'p> Selected<'p> {
    /// Where a plain request is sent over TLS: to the destination that an entry with `originateTls`
    /// names, whatever its methods and paths and in whatever mode. What is decided on from then on is
    /// a request of TLS to that destination, so it goes there or nowhere.
    pub fn originated(&self, request: Request<'_>) -> Option<Authority> {
        request.http.filter(|seen| !seen.tls)?;
        let authority = over_tls(request.authority);
        self.originating(&authority, request)?;
        Some(authority)
    }

    /// The entry that sends the requests over TLS that one would carry in clear: a plain one, and a
    /// tunnel to the port of HTTP.
    pub(super) fn keeps_from_clear(
        &self,
        request: Request<'_>,
    ) -> Option<(&'p EgressPolicy, &'p EgressRule)> {
        let in_clear = match request.http {
            Some(seen) => !seen.tls,
            None => request.authority.port == CLEAR,
        };
        in_clear
            .then(|| self.originating(&over_tls(request.authority), request))
            .flatten()
    }

    /// The entry that sends requests to a destination over TLS.
    fn originating(
        &self,
        authority: &Authority,
        request: Request<'_>,
    ) -> Option<(&'p EgressPolicy, &'p EgressRule)> {
        let over_tls = Request {
            authority,
            ..request
        };
        let originates = |rule: &EgressRule| rule.originates_tls && rule.covers(over_tls);
        let allows = self.all().map(|(policy, _)| (policy, &policy.allow));
        // What does not act takes nothing away.
        let floors = self.cluster.iter().copied();
        let floors = floors.filter(|floor| floor.mode == EgressMode::Enforce);
        let left =
            floors.filter_map(|floor| Some((floor, floor.delegate.as_ref()?.allow.as_ref()?)));
        let mut lists = allows.chain(left);
        lists.find_map(|(policy, rules)| Some((policy, rules.first(&authority.host, originates)?)))
    }
}

fn over_tls(asked: &Authority) -> Authority {
    Authority {
        host: asked.host.clone(),
        port: match asked.port {
            CLEAR => TLS,
            other => other,
        },
    }
}
