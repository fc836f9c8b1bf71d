//! A SecLang (ModSecurity) rule engine, and the Portcullis baseline rules.
//!
//! ```text
//! RuleText --lex, parse--> Ast --resolve, check--> RuleSet --begin--> Transaction --phase n--> Verdict
//!              spans, every error     ids, chains, markers   immutable, Arc   per request       Continue | Interrupt
//!                                                                                  \--finish--> AuditRecord
//! ```
//!
//! The crate does no I/O and never waits. Files are read through a
//! [`RuleSource`], the time is an argument, and the work one transaction may
//! cause is bounded by [`Limits`]. What the engine cannot do is refused by
//! name, with its file and line, when the rules are compiled; nothing in a rule
//! is skipped. No input, in rules or in traffic, makes it panic.
//!
//! The dialect is that of ModSecurity v2 and v3 as far as CRS uses it. Where
//! the two differ, the page of the module says which one is followed.
//!
//! # Examples
//!
//! ```
//! use std::{sync::Arc, time::SystemTime};
//! use portcullis_waf::{EngineMode, NoFiles, RuleSet, Transaction, TransactionOptions, Verdict, baseline};
//!
//! let rules = RuleSet::compile(&baseline(), &NoFiles).map_err(|errors| errors[0].to_string())?;
//! let options = TransactionOptions::new(EngineMode::On, "7f3a".into(), SystemTime::now());
//! let mut tx = Transaction::begin(Arc::new(rules), options);
//! tx.request_line(b"GET", b"/?id=1+UNION+SELECT+password+FROM+users", "HTTP/1.1");
//! tx.request_header(b"Host", b"shop.example");
//! let verdict = match tx.request_headers_end() {
//!     Verdict::Continue => tx.request_body_end(),
//!     interrupted => interrupted,
//! };
//! assert!(matches!(verdict, Verdict::Interrupt(i) if i.status == 403));
//! println!("{}", tx.finish().matches.len());
//! # Ok::<(), String>(())
//! ```

mod actions;
mod audit;
mod baseline;
mod body;
mod collections;
mod compile;
mod error;
mod inject;
mod limits;
mod operators;
mod prefilter;
mod seclang;
mod secrets;
mod source;
mod suggest;
mod transaction;
mod transformations;
mod variables;
mod verdict;

pub use audit::{AuditRecord, Found, Level, Match, NotInspected, Part, Reason};
pub use baseline::baseline;
pub use collections::{CollectionLimits, Collections};
pub use compile::{Change, Exclusion, RuleSet, recommended};
pub use error::RuleError;
pub use limits::{BodyOverLimit, Limits, UndecodableBody};
pub use secrets::SecretNames;
pub use source::{NoFiles, RuleSource, RuleText};
pub use transaction::{Connection, Transaction, TransactionOptions};
pub use verdict::{EngineMode, Interruption, InterruptionAction, Verdict};
