//! The egress proxy.

/// The egress proxy.
#[derive(Clone, Debug, Default)]
pub struct Egress {}
