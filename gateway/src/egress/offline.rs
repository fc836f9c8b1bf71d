//! What the proxy knows without a client: for commands that explain it.

use std::net::IpAddr;

use portcullis_config::{egress::Host, model::Egress};

use super::{
    TestAnswers,
    answer::Refusal,
    identify::{needs_pod, needs_token},
    reasons::find,
    resolver::Resolver,
};

/// What a reason code means, in words; the code itself where it is none of the proxy's.
pub(crate) fn reason_in_words(code: &'static str) -> &'static str {
    find(code).map_or(code, |reason| reason.says)
}

/// Why a client that shows no ServiceAccount is refused before policies are asked, if it is.
///
/// `certified` says whether a certificate tells who it is.
pub(crate) fn unidentified(egress: &Egress, certified: bool) -> Option<&'static str> {
    let level = egress.identity.as_ref()?.level;
    if needs_token(level, certified) {
        Some("token_missing")
    } else if needs_pod(level, certified) {
        Some("identity_unknown")
    } else {
        None
    }
}

/// Looks a name up as the proxy would. An address is its own.
///
/// # Errors
/// The reason code where it has no address; a text where DNS is not set up.
pub(crate) async fn look_up(egress: &Egress, host: &Host) -> Result<Vec<IpAddr>, String> {
    let name = match host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    let resolver = Resolver::new(egress, TestAnswers::default())?;
    let failed = |error| Refusal::from(error).reason.to_owned();
    resolver.resolve(name).await.map_err(failed)
}
