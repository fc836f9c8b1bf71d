//! Quotas: what each client has used of what policies allow it.
//!
//! ```text
//! quotas of a decision -> Charge::take      -> of all of them, or why one has nothing left
//! bytes of a tunnel    -> Charge (a Meter)  -> counted before they are sent, or not sent
//! ```
//!
//! Counts are found by policy, entry and client, whatever the quota says now, and outlive reloads. There are so many of them
//! and no more: where they are spent a new one is refused. None that still counts is forgotten
//! for another, or a client could make others until it is forgotten itself. The policies of a namespace have
//! a part of them: whoever may write there must not take those of others.

mod charge;
mod count;

pub(super) use charge::{Charge, Unpaid};

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use portcullis_config::egress::{CertificateIdentity, Client, QuotaPlace};

use count::{Count, Spent};

/// Those of the policies of one namespace are this part of all, at most.
const SHARE: usize = 10;
/// How often, at most, all counts are looked through for those that are over.
const SWEEP: Duration = Duration::from_secs(1);

/// Whose count it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// A pod, or a ServiceAccount where the pod is not known.
    Identity(String, String, Option<String>),
    Spiffe(String),
    CommonName(String),
    Address(IpAddr),
}

impl Who {
    fn of(client: Client<'_>) -> Self {
        match (client.identity, client.certificate) {
            (Some(identity), _) => Self::Identity(
                identity.namespace.clone(),
                identity.service_account.clone(),
                identity.pod_uid.clone(),
            ),
            (None, Some(CertificateIdentity::Spiffe(id))) => Self::Spiffe(id.as_str().to_owned()),
            (None, Some(CertificateIdentity::CommonName(name))) => Self::CommonName(name.clone()),
            (None, None) => Self::Address(client.address.to_canonical()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    place: QuotaPlace,
    client: Who,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_key: HashMap<Key, Arc<Mutex<Count>>>,
    of_namespaces: HashMap<Box<str>, usize>,
    swept: Option<Instant>,
}

impl Counts {
    /// The count of a client, made where there is none; `None` where there is no room for it.
    fn find(
        &mut self,
        place: &QuotaPlace,
        client: &Who,
        max: usize,
        now: Instant,
    ) -> Option<Arc<Mutex<Count>>> {
        let key = Key {
            place: place.clone(),
            client: client.clone(),
        };
        if let Some(count) = self.by_key.get(&key) {
            return Some(Arc::clone(count));
        }
        let namespace = namespace_of(place);
        if !self.has_room(namespace, max) {
            self.sweep(now);
        }
        if !self.has_room(namespace, max) {
            return None;
        }
        if let Some(namespace) = namespace {
            *self.of_namespaces.entry(namespace.into()).or_default() += 1;
        }
        Some(Arc::clone(self.by_key.entry(key).or_default()))
    }

    fn has_room(&self, namespace: Option<&str>, max: usize) -> bool {
        let taken = namespace.and_then(|namespace| self.of_namespaces.get(namespace));
        let has_share = taken.is_none_or(|taken| *taken < max.div_ceil(SHARE));
        self.by_key.len() < max && has_share
    }

    /// Forgets what is over. Not at each request: whoever is refused may ask often.
    fn sweep(&mut self, now: Instant) {
        let is_soon = |swept| now.duration_since(swept) < SWEEP;
        if !self.swept.is_some_and(is_soon) {
            self.swept = Some(now);
            let of_namespaces = &mut self.of_namespaces;
            self.by_key.retain(|key, count| {
                let is_over = lock(count).is_over(now);
                let namespace = namespace_of(&key.place).filter(|_| is_over);
                if let Some(taken) = namespace.and_then(|name| of_namespaces.get_mut(name)) {
                    *taken = taken.saturating_sub(1);
                }
                !is_over
            });
            of_namespaces.retain(|_, taken| *taken > 0);
        }
    }
}

/// The namespace of a policy that was made of an object of it. Others have no `/` in their name, but for
/// those of the cluster, which begin with capital letters, as no namespace does.
fn namespace_of(place: &QuotaPlace) -> Option<&str> {
    let (namespace, _) = place.policy.split_once('/')?;
    let is_one = !namespace.contains(|letter: char| letter.is_ascii_uppercase());
    is_one.then_some(namespace)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
