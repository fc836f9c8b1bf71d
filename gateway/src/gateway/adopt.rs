//! What stands beside the snapshot is brought in line with it: limits, logs, metrics, and what
//! people are told.

use std::collections::HashSet;

use portcullis_config::problem::Severity;

use super::{Gateway, lock};
use crate::{descriptors, relay, snapshot::Snapshot};

impl Gateway {
    /// Brings everything beside the snapshot in line with it.
    pub(super) fn adopt(&self, snapshot: &Snapshot) {
        let inner = &self.inner;
        inner.live.adopt(snapshot, &inner.metrics);
        self.keep_series(snapshot);
        let process = &snapshot.model.process;
        inner
            .access_log
            .writer()
            .set_sink(process.access_log.clone());
        inner.audit_log.writer().set_sink(process.audit_log.clone());
        inner.audit_log.set_capacity(
            process.audit_records as usize,
            usize::try_from(process.audit_bytes).unwrap_or(usize::MAX),
        );
        inner.budget.set_limit(process.max_buffered_bytes);
        inner.compressions.set_limit(process.max_compressions);
        inner.mirrored.set_limit(process.max_mirrored);
        inner.udp_sessions.set_limit(process.max_udp_sessions);
        relay::set_max_pipes(process.max_relay_pipes);
        descriptors::tell(&snapshot.model);
        inner.ingress.adopt(snapshot);
        self.tell_certificates();
        self.adopt_egress(snapshot);
        if let Some(objects) = inner.source.objects() {
            objects.adopt(&snapshot.model);
        }
    }

    /// Forgets metrics of rules and backends that a snapshot does not have.
    pub(super) fn keep_series(&self, snapshot: &Snapshot) {
        let metrics = &self.inner.metrics;
        let listeners = snapshot.model.listeners.iter();
        let listeners: HashSet<&str> = listeners.map(|known| known.name.as_str()).collect();
        metrics.keep_rules(
            |rule| snapshot.rule(rule).is_some(),
            |listener| listeners.contains(listener),
        );
        let backends = snapshot.backends().iter();
        let backends: HashSet<&str> = backends
            .map(|backend| backend.backend.name.as_str())
            .collect();
        metrics.keep_backends(|name| backends.contains(name));
    }

    pub(super) fn tell_certificates(&self) {
        let files = self.inner.tls.files();
        let responses = files
            .certificates
            .facts()
            .filter_map(|facts| Some((facts.name.as_str(), facts.ocsp_until?)));
        self.inner.metrics.ocsp_responses(responses);
        self.inner.metrics.revocation_lists(files.crl_expiries());
        self.inner.metrics.certificates(
            files
                .certificates
                .facts()
                .map(|facts| (facts.name.as_str(), facts.not_after)),
        );
    }

    pub(super) fn tell_problems(&self) {
        let problems = lock(&self.inner.state).problems.clone();
        if let Some(objects) = self.inner.source.objects() {
            objects.tell(&problems);
        }
        for problem in &problems {
            match problem.severity {
                Severity::Error => tracing::error!("{problem}"),
                Severity::Warning => tracing::warn!("{problem}"),
            }
        }
    }
}
