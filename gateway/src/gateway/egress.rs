//! What is said of the egress proxy as a whole: which modes are in force, and that it refuses.

use portcullis_config::model::EgressMode;

use super::Gateway;
use crate::{egress::self_test, snapshot::Snapshot};

impl Gateway {
    /// Tells the modes of its policies, and tries it where that has not been done.
    pub(super) fn adopt_egress(&self, snapshot: &Snapshot) {
        let egress = snapshot.model.egress.as_ref();
        let policies = egress.map(|egress| egress.cluster_policies.iter().chain(&*egress.policies));
        let policies: Vec<_> = policies.into_iter().flatten().collect();
        let count = |mode: EgressMode| policies.iter().filter(|known| known.mode == mode).count();
        let [enforce, report, open] =
            [EgressMode::Enforce, EgressMode::Report, EgressMode::Open].map(count);
        self.inner.metrics.egress_modes(enforce, report, open);
        if egress.is_none() {
            return;
        }
        tracing::info!(enforce, report, open, "modes of the egress policies");
        if self.inner.egress_proved.get().is_none() {
            let gateway = self.clone();
            tokio::spawn(async move { gateway.prove_egress().await });
        }
    }

    async fn prove_egress(&self) {
        let failed = self_test().await.err();
        match &failed {
            None => tracing::info!("the egress proxy has shown that it refuses"),
            Some(failed) => tracing::error!(%failed, "the egress proxy fails its self-test"),
        }
        // Another load may have been faster.
        let _ = self.inner.egress_proved.set(failed);
    }

    /// Why the egress proxy is not to be relied on, if it is not.
    pub(super) fn unproved(&self) -> Option<String> {
        self.inner.snapshot.load().model.egress.as_ref()?;
        match self.inner.egress_proved.get() {
            None => Some("the egress proxy has not shown yet that it refuses".into()),
            Some(failed) => failed
                .as_ref()
                .map(|failed| format!("the egress proxy fails its self-test: {failed}")),
        }
    }
}
