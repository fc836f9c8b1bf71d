//! From what is asked for to a connection, or a refusal.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use portcullis_config::egress::{
    Authority, Beginnings, Decision, Host, HttpRequest, Refused, Request, Selected,
    UpstreamProxyResolve, decide, judge_addresses,
};
use tokio_util::either::Either;

use super::{
    answer::Refusal,
    audit::Record,
    credentials::Credentials,
    dial::dial,
    identify::{client_of, identify},
    quota::Charge,
    servers::{EgressServices, State},
    upstream_proxy::{self, Asking, UpstreamStream},
};
use crate::{
    relay::Meter,
    snapshot::{CompiledEgress, CompiledUpstreamProxy},
};

/// What a connection is decided on by, and served with.
#[derive(Clone, Copy)]
pub(super) struct Proxy<'a> {
    /// The configuration as it is when it is asked for.
    pub egress: &'a Arc<CompiledEgress>,
    pub services: &'a Arc<EgressServices>,
    pub state: &'a Arc<State>,
}

/// A destination that may be reached, and is connected.
pub(super) struct Opened {
    /// The connection.
    pub upstream: UpstreamStream,
    /// The proxy that it ends at, where a plain request is sent to one as to a proxy.
    pub forwarder: Option<Arc<CompiledUpstreamProxy>>,
    /// Whether a tunnel may carry something other than TLS.
    pub raw: bool,
    /// Whether its TLS is looked into.
    pub inspected: bool,
    /// The destination that a plain request is sent to over TLS, where it is.
    pub originated: Option<Authority>,
    /// What the policies say of how a tunnel begins.
    pub beginnings: Beginnings,
    /// Until when it may be reached.
    pub until: Option<SystemTime>,
    /// What is taken of quotas for it.
    pub charge: Arc<Charge>,
}

/// Identifies, decides, resolves, judges and dials. The record learns everything on the way.
///
/// # Errors
/// Why the destination is not reached.
pub(super) async fn open(
    proxy: Proxy<'_>,
    request: Request<'_>,
    credentials: Credentials,
    record: &mut Record,
) -> Result<Opened, Refusal> {
    let egress = proxy.egress;
    // By value: a tunnel would hold a token for as long as it is open.
    let address = record.client.ip();
    let peer = Arc::clone(&record.peer);
    if !peer.is_admitted(proxy.state.tls()) {
        return Err(Refusal::new(403, "certificate_untrusted"));
    }
    let certified = peer.identity().is_some();
    let from = (address, certified);
    let known = identify(egress, proxy.services, from, credentials, request.now).await?;
    record.identity.clone_from(&known);
    let client = client_of(address, known.as_ref(), peer.identity());
    let selected = Selected::find(&egress.cluster_policies, &egress.policies, client);
    let selected = selected.ok_or_else(|| Refusal {
        always: false,
        ..Refusal::new(403, "no_policy")
    })?;
    let originated = selected.originated(request);
    let request = match &originated {
        None => request,
        Some(authority) => {
            record.port = authority.port;
            record.originated_tls = true;
            let http = request.http.map(|seen| HttpRequest { tls: true, ..seen });
            Request {
                authority,
                http,
                ..request
            }
        }
    };
    let authority = request.authority;
    let mut decision = by_name(egress, &selected, request, record)?;
    // Before the look-up: who has nothing left has no questions either.
    let charge = proxy.state.charge();
    let max_counts = egress.limits.max_quota_counts;
    let taken = charge.take(client, &decision.quotas, true, max_counts, Instant::now());
    taken.map_err(|unpaid| Refusal::quota(&unpaid))?;
    if let Host::Name(name) = &authority.host
        && !charge.may_send(name.len() as u64)
    {
        // A question carries its name out, here or from an upstream proxy that looks it up.
        return Err(Refusal::unsent(&charge));
    }
    let resolver = proxy.state.resolver();
    let resolver = resolver.ok_or_else(|| Refusal::new(503, "not_ready"));
    let through = egress.upstream_proxy(authority);
    let addresses = match &authority.host {
        Host::Address(address) => vec![*address],
        Host::Name(_) if through.is_some_and(|through| !through.looks_up()) => Vec::new(),
        Host::Name(name) => resolver.clone()?.resolve(name).await?,
    };
    record.resolved.clone_from(&addresses);
    by_addresses(egress, &selected, &mut decision, request, record)?;
    decision.keep_raw();
    let limits = &egress.limits;
    let through = through.filter(|through| !through.spares(authority, &addresses));
    let mut forwarder = None;
    let (upstream, dialled) = match through {
        None => {
            let (timeout, test) = (limits.connect_timeout, &proxy.services.test);
            let dialled = dial(&addresses, authority.port, timeout, test).await?;
            (Either::Left(dialled.0), Some(dialled.1))
        }
        Some(through) => {
            record.upstream_proxy = Some(Arc::clone(&through.name));
            let resolver = resolver?;
            let asking = Asking {
                proxy: through,
                resolver: &resolver,
                connect_timeout: limits.connect_timeout,
                handshake_timeout: limits.handshake_timeout,
            };
            // A proxy makes `Host` of the target (RFC 9112 section 3.2.2): what is to reach an
            // address that was judged, and to be asked by its name, goes through a tunnel.
            let is_pinned = through.resolve == UpstreamProxyResolve::Pinned;
            let in_clear = request.http.is_some_and(|seen| !seen.tls) && !is_pinned;
            if in_clear {
                forwarder = Some(Arc::clone(through));
                (upstream_proxy::forwarder(asking).await?, None)
            } else {
                upstream_proxy::tunnel(asking, authority, &addresses).await?
            }
        }
    };
    record.dialled = dialled;
    let beginnings = selected.beginnings(request, decision.inspected);
    Ok(Opened {
        upstream,
        forwarder,
        raw: decision.is_raw(),
        inspected: decision.inspected,
        originated,
        beginnings,
        until: decision.until(),
        charge,
    })
}

/// Decides by the name.
///
/// # Errors
/// What refuses it.
pub(super) fn by_name(
    egress: &CompiledEgress,
    selected: &Selected<'_>,
    request: Request<'_>,
    record: &mut Record,
) -> Result<Decision, Refusal> {
    record.verdict = "allow";
    let decision = decide(selected, request, &egress.cluster_ranges);
    if let Some(grant) = decision.grants.first() {
        record.allowed(grant);
    }
    if let Some(refused) = &decision.refused {
        pass_or_refuse(refused, record)?;
    }
    Ok(decision)
}

/// Judges the addresses that the name has, which the record knows.
///
/// # Errors
/// What refuses them.
pub(super) fn by_addresses(
    egress: &CompiledEgress,
    selected: &Selected<'_>,
    decision: &mut Decision,
    request: Request<'_>,
    record: &mut Record,
) -> Result<(), Refusal> {
    let ranges = &egress.cluster_ranges;
    let refused = judge_addresses(selected, decision, request, &record.resolved, ranges);
    if let Some(refused) = refused {
        pass_or_refuse(&refused, record)?;
    } else if let (None, Some(grant)) = (&decision.refused, decision.grants.first()) {
        // Of several that allow the name, one that allows its addresses.
        record.allowed(grant);
    }
    Ok(())
}

/// Refuses, or notes what would have been refused where the policy only reports.
pub(super) fn pass_or_refuse(refused: &Refused, record: &mut Record) -> Result<(), Refusal> {
    record.refused_by(refused);
    match refused.is_final() {
        true => Err(Refusal::policy(refused)),
        false => Ok(()),
    }
}
