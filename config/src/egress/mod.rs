//! The egress decision: plain functions over plain data.
//!
//! ```text
//! claims of a token -> Identity
//! bytes -> Authority -> select policy -> decide (name, port)      before any DNS query
//!                              answers -> judge_addresses         all of them, before any dial
//! ```
//!
//! One canonical form is parsed, decided on and dialled. A denied name is never
//! looked up: the look-up itself would carry data out.

mod authority;
mod class;
mod policy;
mod rules;
mod subjects;
mod token;

pub use authority::{Authority, AuthorityError, Host};
pub use class::AddressClass;
pub use policy::{
    Decision, EgressPolicy, EgressRule, Request, Target, decide, is_ech_public_name,
    judge_addresses, select,
};
pub use rules::EgressRules;
pub use subjects::{Client, Identity, ServiceAccounts, Subject, Subjects};
pub use token::{Claims, TokenError, TokenSettings, Validity};
