//! Who a client is: by the token that it shows, by the pod that has its address, or by nothing
//! but that address.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use portcullis_config::{
    egress::{CertificateIdentity, Client, Identity},
    model::{EgressIdentity, EgressIdentityLevel},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{answer::Refusal, credentials::Credentials, servers::EgressServices};
use crate::{
    identity::{Owner, Pod, Pods, Tokens, Unverified, Verified},
    snapshot::CompiledEgress,
};

/// What a client that is refused is told to send. Basic is first: clients that know one scheme
/// know that one.
pub(super) const CHALLENGE: &str = "Basic realm=\"portcullis\", Bearer";

/// Who a client is.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Who a token says, and its pod where pods are known.
    Token(Arc<Verified>, Option<Arc<Pod>>),
    /// The pod that has its address.
    Address(Arc<Pod>),
}

impl Known {
    fn identity(&self) -> &Identity {
        match self {
            Self::Token(verified, _) => &verified.identity,
            Self::Address(pod) => &pod.identity,
        }
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Token(_, pod) => pod.as_ref().map(|pod| &pod.labels),
            Self::Address(pod) => Some(&pod.labels),
        }
    }
}

/// The identity, and what it is known by.
impl Serialize for Known {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let identity = self.identity();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(
            "by",
            if matches!(self, Self::Token(..)) {
                "token"
            } else {
                "address"
            },
        )?;
        map.serialize_entry("namespace", &identity.namespace)?;
        map.serialize_entry("serviceAccount", &identity.service_account)?;
        for (field, value) in [("pod", &identity.pod), ("podUid", &identity.pod_uid)] {
            if let Some(value) = value {
                map.serialize_entry(field, value)?;
            }
        }
        map.end()
    }
}

/// A client as policies see it.
pub(super) fn client_of<'a>(
    address: IpAddr,
    known: Option<&'a Known>,
    certificate: Option<&'a CertificateIdentity>,
) -> Client<'a> {
    Client {
        address,
        identity: known.map(Known::identity),
        labels: known.and_then(Known::labels),
        certificate,
    }
}

/// Finds out who asks; `None` where the address is all that is known and that is enough.
///
/// `certified` says whether a certificate tells who it is.
///
/// No mode of a policy lifts a refusal: which policy it is depends on who asks.
///
/// # Errors
/// 407: no token where one is required, or one that is not good. 403: an address that is no
/// pod's, or not that of the pod that the token is of. 503: pods are not known, or the API server
/// could not be asked about the token.
pub(super) async fn identify(
    egress: &CompiledEgress,
    services: &EgressServices,
    (address, certified): (IpAddr, bool),
    credentials: Credentials,
    now: SystemTime,
) -> Result<Option<Known>, Refusal> {
    let Some(identity) = &egress.identity else {
        return Ok(None);
    };
    let pods = known_pods(identity, services.pods.as_deref())?;
    let credentials = match &egress.tokens {
        Some(_) => credentials,
        // Where nobody reads them they decide nothing.
        None => Credentials::Missing,
    };
    match (credentials, &egress.tokens) {
        (Credentials::Token(token), Some(tokens)) => {
            let verified = verify(tokens, &token, now, services).await?;
            of_token(identity.level, pods, address, verified).map(Some)
        }
        (credentials, _) => without_token(identity.level, pods, (address, certified), &credentials),
    }
}

/// Who it is that shows no token.
fn without_token(
    level: EgressIdentityLevel,
    pods: Option<&Pods>,
    (address, certified): (IpAddr, bool),
    credentials: &Credentials,
) -> Result<Option<Known>, Refusal> {
    let refused = |reason| Err(Refusal::new(407, reason));
    match credentials {
        // Who means to show a token and fails is not taken for somebody without one.
        Credentials::Bad(reason) => refused(reason),
        Credentials::Missing if needs_token(level, certified) => refused("token_missing"),
        Credentials::Impossible if needs_token(level, certified) => refused("socks_without_token"),
        _ => of_address(level, pods, (address, certified)),
    }
}

async fn verify(
    tokens: &Tokens,
    token: &[u8],
    now: SystemTime,
    services: &EgressServices,
) -> Result<Arc<Verified>, Refusal> {
    let verified = match (tokens, &services.reviewer) {
        (Tokens::Keys(keys), _) => keys.verify(token, now).map_err(Unverified::Bad),
        (Tokens::Review(reviews), Some(reviewer)) => {
            let metrics = &services.metrics;
            reviews.verify(token, now, &**reviewer, metrics).await
        }
        // Such a configuration is not put in force.
        (Tokens::Review(_), None) => Err(Unverified::NotAsked),
    };
    verified.map_err(|error| match error {
        Unverified::Bad(error) => Refusal::new(407, error.reason()),
        Unverified::NotAsked => Refusal::new(503, "token_review_failed"),
    })
}

/// Who a client is now that was let in before: an error where it would not be let in again.
/// That its token has expired since is no reason.
pub(super) fn identify_again(
    egress: &CompiledEgress,
    pods: Option<&Pods>,
    (address, certified): (IpAddr, bool),
    known: Option<&Known>,
) -> Result<Option<Known>, &'static str> {
    const CHANGED: &str = "policy_changed";
    let Some(identity) = &egress.identity else {
        return Ok(None);
    };
    let reason = |refusal: Refusal| refusal.reason;
    let pods = known_pods(identity, pods).map_err(reason)?;
    let of_address = || of_address(identity.level, pods, (address, certified)).map_err(reason);
    match (known, &egress.tokens) {
        (Some(Known::Token(verified, _)), Some(tokens)) => match tokens.trusts(verified) {
            true => of_token(identity.level, pods, address, Arc::clone(verified))
                .map(Some)
                .map_err(reason),
            false => Err(CHANGED),
        },
        (Some(Known::Token(..)), None) => Err(CHANGED),
        _ if needs_token(identity.level, certified) => Err(CHANGED),
        // Nobody goes on as somebody else, nor as nobody.
        (Some(Known::Address(before)), _) => match of_address()? {
            Some(Known::Address(now)) if now.identity == before.identity => {
                Ok(Some(Known::Address(now)))
            }
            _ if pods.is_some() => Err("pod_gone"),
            _ => Err(CHANGED),
        },
        (None, _) => of_address(),
    }
}

/// Whether what is known of the pod of an open connection has changed.
pub(super) fn has_changed(pods: Option<&Pods>, known: Option<&Known>) -> bool {
    let (Some(pods), Some(Known::Token(_, Some(pod)) | Known::Address(pod))) = (pods, known) else {
        return false;
    };
    let uid = pod.identity.pod_uid.as_deref().unwrap_or_default();
    let now = pods.with_uid(uid);
    !now.is_some_and(|now| Arc::ptr_eq(&now, pod))
}

/// The pods, where identities depend on them.
fn known_pods<'p>(
    identity: &EgressIdentity,
    pods: Option<&'p Pods>,
) -> Result<Option<&'p Pods>, Refusal> {
    let Some(max_stale) = identity.pods_max_stale else {
        return Ok(None);
    };
    // Without a cluster nothing is known either.
    let known = pods.filter(|pods| pods.are_known(max_stale));
    known
        .map(Some)
        .ok_or_else(|| Refusal::new(503, "pods_unknown"))
}

/// Whether a token must be shown. A certificate shows who it is as well, but not which pod.
pub(super) fn needs_token(level: EgressIdentityLevel, certified: bool) -> bool {
    match level {
        EgressIdentityLevel::BindToAddress => true,
        EgressIdentityLevel::Required => !certified,
        EgressIdentityLevel::None | EgressIdentityLevel::Address => false,
    }
}

/// Whether the address must be that of a pod where no token is shown.
pub(super) fn needs_pod(level: EgressIdentityLevel, certified: bool) -> bool {
    level == EgressIdentityLevel::Address && !certified
}

fn of_token(
    level: EgressIdentityLevel,
    pods: Option<&Pods>,
    address: IpAddr,
    verified: Arc<Verified>,
) -> Result<Known, Refusal> {
    let Some(pods) = pods else {
        return Ok(Known::Token(verified, None));
    };
    let Some(uid) = &verified.identity.pod_uid else {
        // Nobody could tell when it ends.
        return Err(Refusal::new(407, "token_without_pod"));
    };
    let pod = pods
        .with_uid(uid)
        .ok_or_else(|| Refusal::new(407, "pod_gone"))?;
    let is_bound = level == EgressIdentityLevel::BindToAddress;
    if is_bound && !pod.addresses.contains(&address.to_canonical()) {
        return Err(Refusal::new(403, "identity_mismatch"));
    }
    Ok(Known::Token(verified, Some(pod)))
}

fn of_address(
    level: EgressIdentityLevel,
    pods: Option<&Pods>,
    (address, certified): (IpAddr, bool),
) -> Result<Option<Known>, Refusal> {
    let Some(pods) = pods else {
        return Ok(None);
    };
    // Who shows a certificate in place of a token is who that says, and not the pod as well.
    if level == EgressIdentityLevel::Required {
        return Ok(None);
    }
    let unknown = |reason| match needs_pod(level, certified) {
        true => Err(Refusal::new(403, reason)),
        false => Ok(None),
    };
    match pods.at(address) {
        Owner::Pod(pod) => Ok(Some(Known::Address(pod))),
        Owner::Node => unknown("node_address"),
        Owner::Unknown => unknown("identity_unknown"),
    }
}

#[cfg(test)]
mod tests;
