//! The Portcullis gateway: one process that guards a cluster in both directions.
//!
//! ```text
//! files -> Document -> validate -> Model -> compile -> Snapshot -> ArcSwap
//!                                                                    |
//! accept -> PROXY header -> TLS -> ingress: route, access, limit, inspect, forward
//!                               -> egress:  identify, decide, resolve, dial, tunnel
//! ```

