//! The certificates that were signed, by their host.
//!
//! One is signed at a time for a host, however many tunnels want it; the others wait for that.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portcullis_config::egress::Host;
use quick_cache::sync::Cache;

use super::authority::{Leaf, SigningError};

/// Certificates that are kept, the least used ones being dropped.
pub(super) struct Leaves(Cache<Host, Arc<Leaf>>);

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leaves").field(&self.0.len()).finish()
    }
}

impl Leaves {
    /// Keeps so many.
    pub(super) fn new(max: u32) -> Self {
        Self(Cache::new(usize::try_from(max).unwrap_or(usize::MAX)))
    }

    /// The certificate of a host, by what signs it where there is none that is good.
    ///
    /// # Errors
    /// Those of `sign`.
    pub(super) async fn find<F>(
        &self,
        host: &Host,
        sign: impl FnOnce() -> F,
    ) -> Result<Arc<Leaf>, SigningError>
    where
        F: Future<Output = Result<Arc<Leaf>, SigningError>>,
    {
        let now = SystemTime::now();
        self.0.remove_if(host, |leaf| is_old(leaf, now));
        self.0.get_or_insert_async(host, sign()).await
    }
}

/// Whether another should be signed: half of its life is over, or the clock has gone back.
fn is_old(leaf: &Leaf, now: SystemTime) -> bool {
    const MOST: Duration = Duration::from_secs(100 * 86_400);
    leaf.renewed <= now || leaf.renewed > now + MOST
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{super::authority::tests::authority, *};

    fn host(number: usize) -> Host {
        Host::Name(format!("host-{number}.example"))
    }

    #[tokio::test]
    async fn a_host_is_signed_for_once_and_what_is_kept_is_bounded() {
        let (authority, signed) = (authority(), AtomicUsize::new(0));
        let leaves = Leaves::new(10);
        let find = |number: usize| {
            let (authority, signed, leaves) = (&authority, &signed, &leaves);
            async move {
                let sign = || async {
                    signed.fetch_add(1, Ordering::Relaxed);
                    // The others come meanwhile.
                    tokio::task::yield_now().await;
                    authority.sign(&host(number), SystemTime::now())
                };
                leaves.find(&host(number), sign).await.expect("one")
            }
        };
        let all = futures_util::future::join_all((0..20).map(|_| find(1))).await;
        assert_eq!(signed.load(Ordering::Relaxed), 1);
        assert!(all.iter().all(|leaf| Arc::ptr_eq(leaf, &all[0])));
        for number in 0..100 {
            find(number).await;
        }
        assert!(leaves.0.len() <= 10, "{}", leaves.0.len());
    }

    #[tokio::test]
    async fn one_that_is_old_is_signed_anew_and_a_failure_is_not_kept() {
        let (authority, leaves) = (authority(), Leaves::new(10));
        let long_ago = SystemTime::now() - Duration::from_secs(80_000);
        let old = authority.sign(&host(1), long_ago).expect("one");
        let host = host(1);
        let first = leaves.find(&host, || async { Ok(Arc::clone(&old)) });
        assert!(Arc::ptr_eq(&first.await.expect("one"), &old));
        let fails = leaves
            .find(&host, || async { Err(SigningError::new(&host, &"no")) })
            .await;
        assert!(fails.is_err());
        let now = SystemTime::now();
        let again = leaves.find(&host, || async { authority.sign(&host, now) });
        assert!(!Arc::ptr_eq(&again.await.expect("one"), &old));
    }
}
