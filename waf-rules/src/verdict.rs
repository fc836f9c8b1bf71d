//! What the engine decides. Data only.

use serde::Serialize;

/// How a transaction treats the rules that match.
///
/// Ordered from the least to the most strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineMode {
    /// No rule runs.
    Off,
    /// Rules run and are recorded; every verdict is [`Verdict::Continue`].
    DetectionOnly,
    /// Rules run and may interrupt.
    On,
}

/// The outcome of one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an interruption has to be answered"]
pub enum Verdict {
    /// The request or response goes on.
    Continue,
    /// The request or response stops here.
    Interrupt(Interruption),
}

/// Why and how a transaction is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interruption {
    /// Status to answer with; a redirection carries 3xx.
    pub status: u16,
    /// What to do.
    pub action: InterruptionAction,
    /// Id of the rule, or `None` when the engine itself refused (a limit).
    pub rule: Option<u64>,
    /// Phase that decided, 1 to 5.
    pub phase: u8,
    /// The message of the rule, expanded, truncated and escaped.
    pub message: String,
}

/// How a transaction is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InterruptionAction {
    /// Answer with the status.
    Deny,
    /// Close the connection without an answer.
    Drop,
    /// Answer with a redirection to this location.
    Redirect(String),
}
