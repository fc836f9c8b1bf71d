//! What a translation made, for the next one: of thousands of objects one changes.

use std::{collections::HashMap, sync::Arc};

use portcullis_config::document::{Certificate, Route};

use super::{
    backends::MadeBackends,
    egress_policies::{MadePolicies, Verdicts},
};
use crate::kube::Options;

/// The items that the last translation made.
#[derive(Debug, Default)]
pub struct MadeItems {
    pub(super) backends: MadeBackends,
    pub(super) routes: Held<Route>,
    pub(super) certificates: Held<Certificate>,
    pub(super) egress: MadePolicies,
}

impl MadeItems {
    /// What is in force of each policy of the egress proxy.
    pub(in crate::kube) fn verdicts(&self) -> Verdicts {
        self.egress.verdicts()
    }

    /// None yet, to be made with these options.
    pub(super) fn with(options: &Options) -> Self {
        Self {
            backends: MadeBackends::with(options),
            ..Self::default()
        }
    }
}

/// Items by name. What says the same as before is held once, so that never all of them are in
/// memory twice.
#[derive(Debug)]
pub(super) struct Held<T>(HashMap<String, Arc<T>>);

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: PartialEq> Held<T> {
    /// The item as it is held: that of before, where it says the same.
    pub(super) fn hold(&mut self, before: &mut Self, name: &str, item: T) -> Arc<T> {
        let (name, item) = match before.0.remove_entry(name) {
            Some((name, known)) if *known == item => (name, known),
            _ => (name.to_owned(), Arc::new(item)),
        };
        self.0.insert(name, Arc::clone(&item));
        item
    }
}
