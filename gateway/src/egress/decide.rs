//! From what is asked for to a connection, or a refusal.

use std::time::SystemTime;

use portcullis_config::{
    egress::{Client, Decision, EgressPolicy, Host, Request, decide, judge_addresses, select},
    model::{EgressMode, EncryptedClientHello},
};
use tokio::net::TcpStream;

use super::{
    answer::Refusal,
    audit::Record,
    credentials::Credentials,
    dial::dial,
    identify::identify,
    servers::{EgressServices, State},
};
use crate::snapshot::CompiledEgress;

/// What a connection is decided on by, and served with.
#[derive(Clone, Copy)]
pub(super) struct Proxy<'a> {
    /// The configuration as it is when it is asked for.
    pub egress: &'a CompiledEgress,
    pub services: &'a EgressServices,
    pub state: &'a State,
}

/// A destination that may be reached, and is connected.
pub(super) struct Opened {
    /// The connection.
    pub upstream: TcpStream,
    /// Whether a tunnel may carry something other than TLS.
    pub raw: bool,
    /// Whether what the policy refuses is passed on all the same.
    pub lenient: bool,
    /// What is done with a ClientHello that may name another host than it shows.
    pub encrypted_client_hello: EncryptedClientHello,
    /// Until when it may be reached.
    pub until: Option<SystemTime>,
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
    let authority = request.authority;
    // By value: a tunnel would hold a token for as long as it is open.
    record.identity = identify(egress, credentials, request.now)?;
    let client = Client {
        address: record.client.ip(),
        identity: record.identity.as_ref().map(|known| &known.identity),
    };
    let policy = select(&egress.policies, client).ok_or_else(|| Refusal {
        always: false,
        ..Refusal::new(403, "no_policy")
    })?;
    record.policy = Some(policy.name.clone());
    let lenient = policy.mode != EgressMode::Enforce;
    record.verdict = "allow";

    let decision = decide(policy, request, &egress.cluster_ranges);
    record.reason = decision.reason;
    record.rule.clone_from(&decision.rule);
    if !decision.allowed {
        pass_or_refuse(policy, &decision, record)?;
    }
    let addresses = match &authority.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let resolver = proxy.state.resolver();
            let resolver = resolver.ok_or_else(|| Refusal::new(503, "not_ready"))?;
            resolver.resolve(name).await?
        }
    };
    record.resolved.clone_from(&addresses);
    if let Err(refused) = judge_addresses(
        policy,
        &decision,
        request,
        &addresses,
        &egress.cluster_ranges,
    ) {
        pass_or_refuse(policy, &refused, record)?;
    }
    let (upstream, dialled) = dial(
        &addresses,
        authority.port,
        egress.limits.connect_timeout,
        &proxy.services.test,
    )
    .await?;
    record.dialled = Some(dialled);
    Ok(Opened {
        upstream,
        raw: decision.raw,
        lenient,
        encrypted_client_hello: policy.encrypted_client_hello,
        until: decision.until,
    })
}

/// Refuses, or notes what would have been refused where the policy only reports.
fn pass_or_refuse(
    policy: &EgressPolicy,
    decision: &Decision,
    record: &mut Record,
) -> Result<(), Refusal> {
    if policy.mode == EgressMode::Enforce || decision.always {
        return Err(Refusal::policy(decision));
    }
    record.verdict = if policy.mode == EgressMode::Report {
        "would_deny"
    } else {
        "allow"
    };
    record.reason = decision.reason;
    record.rule.clone_from(&decision.rule);
    Ok(())
}
