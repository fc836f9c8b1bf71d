//! What a record must not tell: credentials, in whatever part of a request they stand.
//!
//! ```text
//! name of a value --SecretNames--> secret or not
//! text that holds others (a target, a body) --mask_target, may_stand_in--> masked, or left out whole
//! text that rules made of anything --Values--> the same text without the values of secrets
//! ```
//!
//! A name decides; what a value looks like does not. Where it cannot be said which part
//! of a text is a secret, all of it is left out.

mod names;
mod target;
mod values;

pub use names::SecretNames;
pub(crate) use target::{mask_target, target_has_secret};
pub(crate) use values::{SHORTEST, Values};

/// What stands for a secret.
pub(crate) const MASK: &str = "***";
