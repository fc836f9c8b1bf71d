//! Cases from public reports about ingress, each a test named by its id.
//!
//! Those that wait for a feature are in `tests/corpus/field-cases.yaml`, which
//! `field_cases.rs` holds against the collection.

mod backends;
