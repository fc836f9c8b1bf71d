//! The language of the gateway.
