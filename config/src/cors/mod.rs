//! Cross-origin requests: who may ask, and what browsers are told.
//!
//! ```text
//! Origin of the request --Cors::share_with--> value of Access-Control-Allow-Origin, or nothing
//! ```

mod origin;
mod policy;

pub use origin::OriginPattern;
pub use policy::{Allowed, Cors, Origins};
