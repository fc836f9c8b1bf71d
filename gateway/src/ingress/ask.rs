//! Asking a backend beside the request itself: to ask twice harms nobody.

use std::time::{Duration, Instant};

use super::Ingress;
use crate::{
    snapshot::{Chosen, CompiledBackend, Preference, Queueing},
    upstream::{Fault, FaultKind, Question, Reply, Target, blame},
};

/// Endpoints that are asked.
const MAX_TRIES: usize = 3;

impl Ingress {
    /// Asks a backend, one endpoint after the other, within a time.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn ask_in_time(
        &self,
        backend: &CompiledBackend,
        question: Question<'_>,
        time: Duration,
    ) -> Result<Reply, Fault> {
        match tokio::time::timeout(time, self.ask_any(backend, question, time)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::new(FaultKind::Timeout, "no answer in time")),
        }
    }

    /// Asks one endpoint after the other: to ask twice harms nobody.
    async fn ask_any(
        &self,
        backend: &CompiledBackend,
        question: Question<'_>,
        time: Duration,
    ) -> Result<Reply, Fault> {
        let full = |_| Fault::new(FaultKind::Connect, "the backend has no place for a request");
        let limits = &backend.backend.limits;
        let queueing = Queueing {
            length: limits.max_pending as usize,
            time: limits.pending_timeout,
            gauge: backend.metrics.pending(),
        };
        let _place = match backend.gate().try_enter() {
            Some(place) => place,
            None => backend.gate().enter(queueing).await.map_err(full)?,
        };
        let mut tried = Vec::new();
        loop {
            let chosen = backend.choose(&tried, Preference::default());
            let Some(Chosen { endpoint, .. }) = chosen else {
                return Err(Fault::new(FaultKind::Connect, "there is no endpoint"));
            };
            let _at_work = endpoint.begin();
            let target = Target {
                backend,
                endpoint: &endpoint,
                connect: time,
                reach: time,
            };
            let begun = Instant::now();
            let fault = match self.connector().ask(&target, question).await {
                Ok(answer) => {
                    endpoint.answered();
                    backend.metrics.finished(Some(begun.elapsed()));
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            match fault.kind {
                // It has answered, and another of the backend would answer the same.
                FaultKind::TooLarge => {
                    endpoint.answered();
                    backend.metrics.finished(Some(begun.elapsed()));
                    return Err(fault);
                }
                // Nor is a question of ours that cannot be sent, or a limit, its fault.
                FaultKind::Unsendable | FaultKind::Overloaded => {
                    backend.metrics.finished(None);
                    return Err(fault);
                }
                FaultKind::Connect | FaultKind::ConnectTimeout | FaultKind::Tls => {
                    backend.metrics.connect_failed();
                }
                _ => backend.metrics.finished(None),
            }
            tried.push(endpoint.address);
            if fault.kind != FaultKind::Timeout {
                blame(backend, endpoint);
            }
            if tried.len() >= MAX_TRIES || !backend.has_other(&tried) {
                return Err(fault);
            }
        }
    }
}
