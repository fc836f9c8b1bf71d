//! What the endpoints for those who run the gateway tell of it.

use std::{sync::atomic::Ordering, time::SystemTime};

use serde_json::{Value, json};

use super::{Gateway, lock};
use crate::admin::AdminView;

impl AdminView for Gateway {
    fn unready(&self) -> Vec<String> {
        let objects = self.inner.source.objects();
        let mut reasons = objects.map_or_else(Vec::new, |objects| objects.unready());
        if objects.is_some() && !self.inner.serves_objects.load(Ordering::Relaxed) {
            reasons.push(match &lock(&self.inner.state).refused {
                // Where, and not what: others may read this than the log.
                Some(problem) => format!("the settings are refused, for {}", problem.origin),
                None => "the objects of the cluster are not known yet".into(),
            });
        }
        reasons.extend(self.unproved());
        if self.inner.draining.load(Ordering::Relaxed) {
            reasons.push("draining".into());
        }
        reasons
    }

    fn remarks(&self) -> Vec<String> {
        let objects = self.inner.source.objects();
        let mut remarks = objects.map_or_else(Vec::new, |objects| objects.remarks());
        if let Some(problem) = &lock(&self.inner.state).refused {
            remarks.push(format!(
                "the configuration is refused, for {}; the last good one serves",
                problem.origin
            ));
        }
        remarks
    }

    fn metrics(&self) -> String {
        if let Some(objects) = self.inner.source.objects() {
            objects.measure(&self.inner.metrics);
        }
        self.inner
            .metrics
            .log_dropped("access", self.inner.access_log.writer().take_dropped());
        self.inner
            .metrics
            .log_dropped("audit", self.inner.audit_log.writer().take_dropped());
        self.inner.metrics.render()
    }

    fn config(&self) -> String {
        let snapshot = self.inner.snapshot.load_full();
        // Much text, where there is much configuration: others go on meanwhile.
        tokio::task::block_in_place(|| snapshot.yaml().to_owned())
    }

    fn problems(&self) -> Value {
        let snapshot = self.inner.snapshot.load();
        let state = lock(&self.inner.state);
        let seconds = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        };
        json!({
            "serving": { "version": snapshot.version, "hash": snapshot.hash, "built": seconds(snapshot.built) },
            "lastLoad": { "at": state.at.map(seconds), "refused": state.refused.is_some() },
            "problems": state.problems,
        })
    }

    fn waf_traffic(&self) -> Value {
        let metrics = &self.inner.metrics;
        let mut rules = serde_json::Map::new();
        for ([rule], count) in metrics.requests_of_rules() {
            rules.insert(rule, json!({ "requests": count, "notInspected": [] }));
        }
        for ([rule, part, reason], count) in metrics.all_not_inspected() {
            let noted = json!({ "part": part, "reason": reason, "requests": count });
            let rule = rules
                .entry(rule)
                .or_insert_with(|| json!({ "requests": 0, "notInspected": [] }));
            if let Some(all) = rule["notInspected"].as_array_mut() {
                all.push(noted);
            }
        }
        json!({ "rules": rules })
    }

    fn audit(&self, request_id: Option<&str>, limit: usize) -> Value {
        match request_id {
            Some(id) => self.inner.audit_log.find(id).into(),
            None => self.inner.audit_log.last(limit).into(),
        }
    }
}
