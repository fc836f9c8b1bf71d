//! What inspecting a request costs, by engine: ours, libmodsecurity and Coraza, with the
//! same rules and the same requests in one run.
//!
//! ```text
//! workload -> file ---\
//! rules (CRS) -> file --+-> driver of each engine, one process, one thread -> CPU time
//! ```
//!
//! No HTTP is in it: each engine is called as its connector calls it, through all phases
//! of a request, until it refuses. So that nobody wins by matching less, what each
//! engine refuses is told beside its time.

pub mod engine;
pub mod growth;
pub mod measure;
pub mod rules;
pub mod workload;
