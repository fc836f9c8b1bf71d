//! What is made of the egress proxy's audit log: a policy that covers it, and what of the
//! policies it does not use.
//!
//! ```text
//! lines -> Record -+-> Seen -> Collector -> Proposal -> YAML      portcullis egress propose
//!                  \-> Usage, beside the policies -> Review       portcullis egress review
//! ```
//!
//! Plain data in and plain data out. Files, standard streams and clocks are in [`crate::cli`].

mod lines;
mod propose;
mod record;
mod review;

pub use lines::{LineCounts, MAX_LINE_BYTES, read_lines};
pub use propose::{Collector, DEFAULT_MAX_ENTRIES, Form, Mode, Options, TooMany, write};
pub use record::{Record, Workload};
pub use review::{EntryReview, List, PolicyReview, Review, Usage};
