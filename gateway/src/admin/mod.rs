//! Health, readiness and metrics on a network address; the configuration dump
//! and the audit look-up on a local one.
//!
//! ```text
//! management:  /healthz  /readyz  /metrics          kubelet and Prometheus
//! admin:       /config  /config/problems  /audit  /audit/{request id}  /waf/traffic   a person on the machine
//! ```

mod server;

pub use server::{AdminServer, Answer, Endpoint};

use serde_json::Value;

/// What the endpoints show; the gateway implements it.
pub trait AdminView: Send + Sync {
    /// Reasons why the gateway is not ready; none means that it is.
    fn unready(&self) -> Vec<String>;
    /// What people should know though it is ready.
    fn remarks(&self) -> Vec<String>;
    /// Metrics in the Prometheus text format.
    fn metrics(&self) -> String;
    /// The effective configuration as YAML.
    fn config(&self) -> String;
    /// The serving snapshot, and the problems of the last load.
    fn problems(&self) -> Value;
    /// For each rule of a route its requests, and what of them WAF rules did not see.
    fn waf_traffic(&self) -> Value;
    /// Audit records of one request, or the last ones.
    fn audit(&self, request_id: Option<&str>, limit: usize) -> Value;
}

/// Answers a request to the management listener.
pub fn management(view: &dyn AdminView, path: &str) -> Answer {
    match path {
        "/" => Answer::text(200, "/healthz\n/readyz\n/metrics\n"),
        "/healthz" => Answer::text(200, "ok\n"),
        "/readyz" => match view.unready() {
            reasons if reasons.is_empty() => {
                let lines = [vec!["ready".to_owned()], view.remarks()].concat();
                Answer::text(200, lines.join("\n") + "\n")
            }
            reasons => Answer::text(503, reasons.join("\n") + "\n"),
        },
        "/metrics" => Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4",
            body: view.metrics(),
        },
        _ => Answer::text(404, "not found\n"),
    }
}

/// Answers a request to the admin listener.
pub fn admin(view: &dyn AdminView, path: &str, query: Option<&str>) -> Answer {
    let asked = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("limit="));
    let Ok(limit) = asked.unwrap_or("100").parse() else {
        return Answer::text(400, "limit is not a number\n");
    };
    match path {
        "/" => Answer::text(
            200,
            "/config\n/config/problems\n/audit?limit=N\n/audit/{request id}\n/waf/traffic\n",
        ),
        "/config" => Answer {
            status: 200,
            content_type: "application/yaml",
            body: view.config(),
        },
        "/config/problems" => Answer::json(200, &view.problems()),
        "/waf/traffic" => Answer::json(200, &view.waf_traffic()),
        "/audit" => Answer::json(200, &view.audit(None, limit)),
        _ => match path.strip_prefix("/audit/") {
            Some(id) => {
                let found = view.audit(Some(id), limit);
                let status = if found.as_array().is_some_and(Vec::is_empty) {
                    404
                } else {
                    200
                };
                Answer::json(status, &found)
            }
            None => Answer::text(404, "not found\n"),
        },
    }
}
