//! Whose turn it is to ask the API server for a Secret: few ask at once, and of one namespace fewer
//! still, so that who names thousands of Secrets is in nobody's way but his own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Secrets that are asked for one by one, or whose watches are opened, at once.
const AT_ONCE: usize = 16;
/// Of them, those of one namespace.
const OF_NAMESPACE: usize = 8;

/// The turns of all namespaces.
#[derive(Debug)]
pub(super) struct Asking {
    all: Semaphore,
    of_namespace: usize,
    namespaces: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    asking: &'a Asking,
    namespace: String,
    own: Option<OwnedSemaphorePermit>,
    _of_all: SemaphorePermit<'a>,
}

impl Default for Asking {
    fn default() -> Self {
        Self::new(AT_ONCE, OF_NAMESPACE)
    }
}

impl Asking {
    /// So many ask at once, and so many of one namespace.
    pub(super) fn new(at_once: usize, of_namespace: usize) -> Self {
        Self {
            all: Semaphore::new(at_once),
            of_namespace,
            namespaces: Mutex::default(),
        }
    }

    /// Waits for a turn of a namespace.
    pub(super) async fn turn(&self, namespace: &str) -> Turn<'_> {
        const OPEN: &str = "nobody closes it";
        let own = {
            let mut namespaces = self.namespaces();
            let of_namespace = || Arc::new(Semaphore::new(self.of_namespace));
            let known = namespaces.entry(namespace.to_owned());
            Arc::clone(known.or_insert_with(of_namespace))
        };
        // First its own: who waits for that stands in no other's way.
        let own = own.acquire_owned().await.expect(OPEN);
        Turn {
            asking: self,
            namespace: namespace.to_owned(),
            own: Some(own),
            _of_all: self.all.acquire().await.expect(OPEN),
        }
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut namespaces = self.asking.namespaces();
        self.own = None;
        // Nobody else has or waits for one: there may be very many namespaces.
        let is_last = |own: &Arc<Semaphore>| Arc::strong_count(own) == 1;
        if namespaces.get(&self.namespace).is_some_and(is_last) {
            namespaces.remove(&self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_namespace_with_many_questions_leaves_turns_for_others() {
        let asking = Asking::new(3, 2);
        let of = |namespace: &'static str| asking.turn(namespace).now_or_never();
        let (one, two) = (of("many"), of("many"));
        assert!(one.is_some() && two.is_some());
        assert!(of("many").is_none(), "it has as many as it may");
        let other = of("few");
        assert!(other.is_some());
        assert!(of("third").is_none(), "all are taken");
        drop(one);
        let third = of("third");
        assert!(third.is_some());
        drop((two, other, third));
        assert!(of("many").is_some());
        assert!(asking.namespaces().is_empty(), "nothing is kept of them");
    }
}
