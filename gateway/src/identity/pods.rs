//! The pods of a cluster: whose address it is that a client has, and which tokens are still
//! somebody's.
//!
//! An address belongs to a pod that runs and has it, and to no other: not to one that is done
//! and lists it still, not to one of two that list it, and not to one that shares it with its
//! node. What is not known is nobody's.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use portcullis_config::egress::Identity;
use tokio::sync::Notify;

/// A pod that runs or may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Who it is; its name and UID are always there.
    pub identity: Identity,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether they are those of its node.
    pub on_host_network: bool,
    /// The addresses of its node.
    pub node: Vec<IpAddr>,
    /// Whether all that it ran has ended: its addresses may be another's by now.
    pub is_done: bool,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A pod.
    Pod(Arc<Pod>),
    /// A node: any of the pods there that have no address of their own, and whoever is
    /// forwarded by it.
    Node,
    /// Nobody that is known, or more than one.
    Unknown,
}

/// What is known of the pods of a cluster.
#[derive(Debug, Default)]
pub struct Pods {
    book: RwLock<Book>,
    freshness: RwLock<Freshness>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Freshness {
    is_known: bool,
    stale_since: Option<Instant>,
}

/// Pods by all that they are found by.
#[derive(Debug, Default)]
struct Book {
    /// By namespace and name: of one name there is one pod at a time.
    pods: HashMap<(String, String), Arc<Pod>>,
    by_uid: HashMap<String, Arc<Pod>>,
    /// The UIDs of those that an address is listed for.
    by_address: HashMap<IpAddr, Vec<String>>,
    /// How many pods are on the node that has an address.
    nodes: HashMap<IpAddr, usize>,
}

impl Pods {
    /// Has the pods watched, if they are not yet.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Waits until somebody wants to know of pods.
    pub async fn are_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether what is known counts: all pods were known once, and no longer ago than that.
    pub fn are_known(&self, max_stale: Duration) -> bool {
        let freshness = read(&self.freshness);
        freshness.is_known
            && freshness
                .stale_since
                .is_none_or(|since| since.elapsed() <= max_stale)
    }

    /// What is known is what the cluster has.
    pub fn fresh(&self) {
        *write(&self.freshness) = Freshness {
            is_known: true,
            stale_since: None,
        };
    }

    /// What is known may be old.
    pub fn stale(&self) {
        let mut freshness = write(&self.freshness);
        freshness.stale_since.get_or_insert_with(Instant::now);
    }

    /// Takes all pods. One that says the same is the same as before, so that nobody looks at
    /// its connections again.
    pub fn replace(&self, pods: impl IntoIterator<Item = Pod>) {
        let mut book = write(&self.book);
        let mut made = Book::default();
        for pod in pods {
            made.add(book.shared(pod));
        }
        *book = made;
    }

    /// Takes a pod as it is now.
    pub fn apply(&self, pod: Pod) {
        let mut book = write(&self.book);
        let pod = book.shared(pod);
        book.add(pod);
    }

    /// A pod is gone.
    pub fn remove(&self, namespace: &str, name: &str) {
        write(&self.book).remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The pod with a UID, unless it is done or gone.
    pub fn with_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        let found = read(&self.book).by_uid.get(uid).cloned();
        found.filter(|pod| !pod.is_done)
    }

    /// Who has an address.
    pub fn at(&self, address: IpAddr) -> Owner {
        read(&self.book).at(address.to_canonical())
    }

    /// The number of pods that are known.
    pub fn len(&self) -> usize {
        read(&self.book).pods.len()
    }

    /// Whether no pod is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Book {
    /// A pod, as it is known already where it says the same.
    fn shared(&self, mut pod: Pod) -> Arc<Pod> {
        for address in pod.addresses.iter_mut().chain(&mut pod.node) {
            *address = address.to_canonical();
        }
        let uid = pod.identity.pod_uid.as_deref().unwrap_or_default();
        let known = self.by_uid.get(uid).filter(|known| ***known == pod);
        known.cloned().unwrap_or_else(|| Arc::new(pod))
    }

    fn add(&mut self, pod: Arc<Pod>) {
        let (Some(name), Some(uid)) = (&pod.identity.pod, &pod.identity.pod_uid) else {
            return;
        };
        let (key, uid) = ((pod.identity.namespace.clone(), name.clone()), uid.clone());
        self.remove(&key);
        for address in &pod.addresses {
            self.by_address
                .entry(*address)
                .or_default()
                .push(uid.clone());
        }
        for node in &pod.node {
            *self.nodes.entry(*node).or_default() += 1;
        }
        self.by_uid.insert(uid, Arc::clone(&pod));
        self.pods.insert(key, pod);
    }

    fn remove(&mut self, key: &(String, String)) {
        let Some(pod) = self.pods.remove(key) else {
            return;
        };
        let uid = pod.identity.pod_uid.as_deref().unwrap_or_default();
        self.by_uid.remove(uid);
        for address in &pod.addresses {
            if let Some(uids) = self.by_address.get_mut(address) {
                uids.retain(|known| known != uid);
                if uids.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        for node in &pod.node {
            if let Some(count) = self.nodes.get_mut(node) {
                *count -= 1;
                if *count == 0 {
                    self.nodes.remove(node);
                }
            }
        }
    }

    fn at(&self, address: IpAddr) -> Owner {
        if self.nodes.contains_key(&address) {
            return Owner::Node;
        }
        let listed = self.by_address.get(&address).into_iter().flatten();
        let pods = listed.filter_map(|uid| self.by_uid.get(uid));
        let mut running = pods.filter(|pod| !pod.is_done);
        match (running.next(), running.next()) {
            (Some(pod), _) if pod.on_host_network => Owner::Node,
            (Some(pod), None) => Owner::Pod(Arc::clone(pod)),
            _ => Owner::Unknown,
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str, address: &str) -> Pod {
        Pod {
            identity: Identity {
                namespace: "ci".into(),
                service_account: format!("of-{name}"),
                pod: Some(name.into()),
                pod_uid: Some(uid.into()),
            },
            labels: BTreeMap::new(),
            addresses: vec![address.parse().expect("an address")],
            on_host_network: false,
            node: vec!["192.0.2.1".parse().expect("an address")],
            is_done: false,
        }
    }

    /// The UID of who has an address, or what it is.
    fn at(pods: &Pods, address: &str) -> String {
        match pods.at(address.parse().expect("an address")) {
            Owner::Pod(pod) => pod.identity.pod_uid.clone().expect("a UID"),
            Owner::Node => "node".into(),
            Owner::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn an_address_is_of_the_one_pod_that_runs_and_has_it() {
        let pods = Pods::default();
        assert_eq!(at(&pods, "10.1.2.3"), "unknown");
        pods.apply(pod("a", "1", "10.1.2.3"));
        assert_eq!(at(&pods, "10.1.2.3"), "1");
        assert_eq!(at(&pods, "::ffff:10.1.2.3"), "1");
        // K08: gone, and nothing is known of the next one yet.
        pods.remove("ci", "a");
        assert_eq!(at(&pods, "10.1.2.3"), "unknown");
        assert!(pods.with_uid("1").is_none(), "K05");
        pods.apply(pod("b", "2", "10.1.2.3"));
        assert_eq!(at(&pods, "10.1.2.3"), "2");
        // Two that list it: nobody knows which of them asks.
        pods.apply(pod("c", "3", "10.1.2.3"));
        assert_eq!(at(&pods, "10.1.2.3"), "unknown");
        pods.remove("ci", "b");
        assert_eq!(at(&pods, "10.1.2.3"), "3");
        // Another pod of the same name.
        pods.apply(pod("c", "4", "10.1.2.4"));
        assert_eq!(at(&pods, "10.1.2.3"), "unknown");
        assert_eq!(at(&pods, "10.1.2.4"), "4");
        assert!(pods.with_uid("3").is_none() && pods.with_uid("4").is_some());
        assert_eq!(pods.len(), 1);
        pods.replace([pod("d", "5", "10.1.2.5")]);
        assert_eq!(at(&pods, "10.1.2.4"), "unknown");
        assert_eq!(at(&pods, "10.1.2.5"), "5");
    }

    #[test]
    fn a_pod_that_says_the_same_is_the_same() {
        let pods = Pods::default();
        pods.apply(pod("a", "1", "::ffff:10.1.2.3"));
        let first = pods.with_uid("1").expect("a pod");
        pods.apply(pod("a", "1", "10.1.2.3"));
        pods.replace([pod("a", "1", "10.1.2.3")]);
        assert!(Arc::ptr_eq(&first, &pods.with_uid("1").expect("a pod")));
        let mut other = pod("a", "1", "10.1.2.3");
        other.labels.insert("app".into(), "x".into());
        pods.apply(other);
        assert!(!Arc::ptr_eq(&first, &pods.with_uid("1").expect("a pod")));
    }

    #[test]
    fn k11_a_pod_that_is_done_owns_nothing() {
        let pods = Pods::default();
        let done = |pod: Pod| Pod {
            is_done: true,
            ..pod
        };
        pods.apply(done(pod("a", "1", "10.1.2.3")));
        assert_eq!(at(&pods, "10.1.2.3"), "unknown");
        assert!(pods.with_uid("1").is_none());
        pods.apply(pod("b", "2", "10.1.2.3"));
        assert_eq!(at(&pods, "10.1.2.3"), "2");
    }

    #[test]
    fn k10_the_address_of_a_node_is_no_pods() {
        let pods = Pods::default();
        let on_host = |pod: Pod| Pod {
            on_host_network: true,
            ..pod
        };
        pods.apply(on_host(pod("a", "1", "192.0.2.1")));
        assert_eq!(at(&pods, "192.0.2.1"), "node");
        pods.apply(pod("b", "2", "10.1.2.3"));
        pods.remove("ci", "a");
        assert_eq!(at(&pods, "192.0.2.1"), "node", "another pod is on it");
        // Also one that lists the address of a node as its own.
        pods.apply(pod("c", "3", "192.0.2.1"));
        assert_eq!(at(&pods, "192.0.2.1"), "node");
        pods.remove("ci", "b");
        pods.remove("ci", "c");
        assert_eq!(at(&pods, "192.0.2.1"), "unknown");
        let mut of_no_known_node = on_host(pod("d", "4", "192.0.2.9"));
        of_no_known_node.node.clear();
        pods.apply(of_no_known_node);
        assert_eq!(at(&pods, "192.0.2.9"), "node");
    }

    #[test]
    fn what_is_known_counts_for_a_while() {
        let pods = Pods::default();
        let hour = Duration::from_secs(3600);
        assert!(!pods.are_known(hour));
        pods.stale();
        assert!(!pods.are_known(hour));
        pods.fresh();
        assert!(pods.are_known(Duration::ZERO));
        pods.stale();
        assert!(pods.are_known(hour));
        std::thread::sleep(Duration::from_millis(2));
        assert!(!pods.are_known(Duration::from_millis(1)));
        pods.stale();
        assert!(
            !pods.are_known(Duration::from_millis(1)),
            "stale since the first time"
        );
        pods.fresh();
        assert!(pods.are_known(Duration::ZERO));
    }
}
