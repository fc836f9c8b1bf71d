//! Names of a rule's backends for a cookie, so that a client stays with one.

use std::{collections::HashMap, sync::Arc};

use portcullis_config::model::{Action, Rule};

use super::{CompiledBackend, Live, Reads, affinity::Namer};

/// The scope of the names: one backend has one name in all rules, so that a client
/// stays with a release from one rule to the next.
const SCOPE: &str = "backends of rules";

/// Backends that a client may stay with, by name.
#[derive(Debug)]
pub struct Sticky {
    named: Vec<(String, Arc<CompiledBackend>)>,
}

impl Sticky {
    /// Names the backends of a rule that get a share of its requests; `None` where
    /// it is not sticky. One whose share is taken away is known no more: its
    /// clients choose anew.
    ///
    /// # Errors
    /// A key that cannot be read, or is too short.
    pub(super) fn compile(
        rule: &Rule,
        backends: &HashMap<String, Arc<CompiledBackend>>,
        live: &Live,
        reads: &Reads,
    ) -> Result<Option<Self>, String> {
        let (Some(affinity), Action::Forward(forward)) = (&rule.sticky, &rule.action) else {
            return Ok(None);
        };
        let namer = Namer::new(SCOPE, affinity.secret.as_deref(), &live.affinity_key, reads)?;
        let canary = rule.canary.as_ref();
        let canary = canary.map(|canary| (&canary.backend, canary.weight));
        let mut shares: Vec<_> = forward
            .iter()
            .map(|(backend, weight)| (backend, *weight))
            .chain(canary)
            .filter(|(_, weight)| *weight > 0)
            .map(|(backend, _)| &backend.name)
            .collect();
        shares.sort();
        shares.dedup();
        let named = shares
            .into_iter()
            .filter_map(|name| Some((namer.name(name), Arc::clone(backends.get(name)?))));
        Ok(Some(Self {
            named: named.collect(),
        }))
    }

    /// The backend that has one of these names.
    pub fn find(&self, names: &[&[u8]]) -> Option<&Arc<CompiledBackend>> {
        let is = |name: &str| names.contains(&name.as_bytes());
        let (_, backend) = self.named.iter().find(|(name, _)| is(name))?;
        Some(backend)
    }

    /// The name of a backend.
    pub fn name_of(&self, backend: &Arc<CompiledBackend>) -> Option<&str> {
        let is = |known: &Arc<CompiledBackend>| Arc::ptr_eq(known, backend);
        let (name, _) = self.named.iter().find(|(_, known)| is(known))?;
        Some(name)
    }
}
