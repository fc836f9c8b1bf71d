//! `initcol`, and `setsid`, `setuid` and `setrsc`, which name their collection.

use crate::{
    collections::Collection,
    error::Complaint,
    transaction::State,
    variables::{Expansion, Variable},
};

/// Opens a record of a collection.
#[derive(Clone, Debug)]
pub(crate) struct OpenCollection {
    collection: Collection,
    key: Expansion,
}

impl OpenCollection {
    /// Parses `ip=%{REMOTE_ADDR}`.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let Some((name, key)) = text.split_once('=') else {
            return Err(Complaint::new(format!(
                "initcol needs collection=key, found {text:?}"
            )));
        };
        Self::of(Collection::find(name.trim())?, key.trim())
    }

    /// Takes the key of a collection that the action names.
    pub(super) fn of(collection: Collection, key: &str) -> Result<Self, Complaint> {
        Ok(Self {
            collection,
            key: Expansion::parse(key)?,
        })
    }

    pub(crate) fn collection(&self) -> Collection {
        self.collection
    }

    /// Tells whether a value of a variable, of those that are wanted, is part of its key.
    pub(crate) fn mentions(&self, wanted: impl Fn(Variable) -> bool) -> bool {
        self.key.mentions(wanted)
    }

    /// Opens the record; `timeout` is for a new one, in seconds.
    pub(crate) fn apply(&self, state: &mut State, timeout: u64) {
        let key = self.key.expand(state).into_owned();
        let now = state.now();
        state.collections.open(self.collection, key, now, timeout);
    }
}
