//! Tells whether a value looks like an injection of SQL or of HTML.
//!
//! ```text
//! bytes -sql::tokens-> tokens -fold-> at most five -fingerprint-> known? -doubt-> Some(fingerprint)
//! bytes -html::tokens-> names and values of markup --------------> is one banned?  -> bool
//! ```
//!
//! The verdicts and the fingerprints are those of libinjection 4, as libmodsecurity
//! 3.0.15 is built with, its oddities included: rules and exclusions are written for
//! them. What is odd is said where it happens. The code is ours, the tables in `data/`
//! come from the C library, and `fuzz/` compares the two.
//!
//! The time is linear in the length of a value, nothing is allocated after the
//! tables are read, and nothing panics.

mod html;
mod sql;

#[allow(unused_imports, reason = "for the comparison in fuzz/")]
pub(crate) use self::{html::html_readings, sql::sql_readings};
pub(crate) use self::{html::is_html_injection, sql::sql_fingerprint};

#[cfg(test)]
mod tests;
