//! The egress decision.
