//! Who a client is: by the token that it shows, or by nothing but its address.

use std::{sync::Arc, time::SystemTime};

use portcullis_config::{egress::Identity, model::EgressIdentityLevel};

use super::{answer::Refusal, credentials::Credentials};
use crate::{identity::Verified, snapshot::CompiledEgress};

/// What a client that is refused is told to send. Basic is first: clients that know one scheme
/// know that one.
pub(super) const CHALLENGE: &str = "Basic realm=\"portcullis\", Bearer";

/// Finds out who asks; `None` where the address is all that is known and that is enough.
///
/// No mode of a policy lifts a refusal: which policy it is depends on who asks.
///
/// # Errors
/// 407: no token where one is required, or one that is not good.
pub(super) fn identify(
    egress: &CompiledEgress,
    credentials: Credentials,
    now: SystemTime,
) -> Result<Option<Arc<Verified>>, Refusal> {
    // Where nobody reads them, credentials decide nothing.
    let Some(tokens) = &egress.tokens else {
        return Ok(None);
    };
    let refused = |reason| Err(Refusal::new(407, reason));
    match credentials {
        Credentials::Token(token) => match tokens.verify(&token, now) {
            Ok(verified) => Ok(Some(verified)),
            Err(error) => refused(error.reason()),
        },
        // Who means to show a token and fails is not taken for somebody without one.
        Credentials::Bad(reason) => refused(reason),
        Credentials::Missing if is_required(egress) => refused("token_missing"),
        Credentials::Impossible if is_required(egress) => refused("socks_without_token"),
        Credentials::Missing | Credentials::Impossible => Ok(None),
    }
}

/// Who a client is that was let in by another configuration: an error where this one would
/// not have let it in. That its token has expired since is no reason.
pub(super) fn identity_of<'v>(
    egress: &CompiledEgress,
    verified: Option<&'v Verified>,
) -> Result<Option<&'v Identity>, ()> {
    match (&egress.tokens, verified) {
        (None, _) => Ok(None),
        (Some(_), None) if is_required(egress) => Err(()),
        (Some(_), None) => Ok(None),
        (Some(tokens), Some(verified)) if tokens.trusts(verified) => Ok(Some(&verified.identity)),
        (Some(_), Some(_)) => Err(()),
    }
}

fn is_required(egress: &CompiledEgress) -> bool {
    let identity = egress.identity.as_ref();
    identity.is_some_and(|identity| identity.level == EgressIdentityLevel::Required)
}
