//! Whether a response is compressed, and how.
//!
//! ```text
//! policy + request + response head --Compression::decide--> Leave | LeaveButVary | Compress
//! ```

mod accept;
mod media;
mod policy;

pub use media::{DEFAULT_TYPES, MediaRange};
pub use policy::{Compression, CompressionDecision};
