//! What the gateway tells about itself: log, metrics, access log, audit log.
//!
//! ```text
//! tracing ------> standard error        what a person must know
//! Metrics ------> /metrics              numbers, labels from configuration only
//! AccessLog ----> one JSON line for each request
//! AuditLog -----> one JSON line for each WAF match and egress connection, and a ring for look-up
//!     both logs --bounded channel--> writer thread --> stdout or file, never in a request's way
//! ```

mod access_log;
mod audit;
mod backend_metrics;
mod bounded_labels;
mod connection_line;
mod decisions;
mod json_line;
mod kept_policies;
mod listed;
mod logging;
mod metrics;
pub mod names;
mod rule_metrics;
mod seldom;
mod timestamp;
mod waf_record;
mod writer;

pub use access_log::{AccessLog, RequestFacts, TlsFacts};
pub use audit::AuditLog;
pub use backend_metrics::BackendMetrics;
pub use connection_line::ConnectionRecord;
pub use decisions::{Decision, Decisions};
pub use kept_policies::KeptPolicies;
pub use logging::{LogFormat, init_logging};
pub use metrics::{Metrics, TcpMetrics, UdpMetrics};
pub use rule_metrics::RuleMetrics;
pub(crate) use seldom::Seldom;
pub use waf_record::{WafFacts, waf_record};
pub use writer::LogWriter;
