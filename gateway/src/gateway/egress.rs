//! What is said of the egress proxy as a whole: which modes are in force, and that it refuses.

use std::{sync::atomic::Ordering, time::Duration};

use portcullis_config::model::EgressMode;

use super::Gateway;
use crate::{
    egress::{Failed, self_test},
    snapshot::Snapshot,
};

/// Until a test that could not be made is made again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
        if !self.inner.egress_tried.swap(true, Ordering::Relaxed) {
            let gateway = self.clone();
            tokio::spawn(async move { gateway.prove_egress().await });
        }
    }

    async fn prove_egress(&self) {
        let mut pause = FIRST_PAUSE;
        let failed = loop {
            match self_test().await {
                Ok(()) => {
                    tracing::info!("the egress proxy has shown that it refuses");
                    break None;
                }
                Err(Failed::Wrong(failed)) => {
                    tracing::error!(%failed, "the egress proxy fails its self-test");
                    break Some(failed);
                }
                // That says nothing of what it refuses.
                Err(Failed::Untried(reason)) => {
                    tracing::warn!(%reason, "the egress proxy cannot be tried yet");
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        };
        // It is tried once.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::AdminView, gateway::GatewayOptions};

    const CONFIG: &str = "\
egress:
  listeners: [{name: proxy, address: '127.0.0.1:0'}]
management: {address: '127.0.0.1:0'}
admin: {address: '127.0.0.1:0'}
";

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateway_whose_egress_proxy_does_not_refuse_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("egress.yaml");
        std::fs::write(&file, CONFIG).unwrap();
        let start = || {
            let config = vec![file.clone()];
            Gateway::start(GatewayOptions {
                config,
                ..GatewayOptions::default()
            })
        };
        let good = start().unwrap();
        while good.inner.egress_proved.get().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(good.unready(), [""; 0]);
        // What comes of another is said before it has come to that itself.
        for _ in 0..20 {
            let bad = start().unwrap();
            let failed = Some("what is not allowed got 200".to_owned());
            if bad.inner.egress_proved.set(failed).is_ok() {
                let reasons = bad.unready();
                assert!(
                    reasons.len() == 1 && reasons[0].contains("not allowed got 200"),
                    "{reasons:?}"
                );
                return;
            }
        }
        panic!("the self-test was always faster");
    }
}
