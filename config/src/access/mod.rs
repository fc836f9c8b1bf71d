//! Address lists and the client address.
//!
//! ```text
//! peer + X-Forwarded-For lines + trusted proxies -> client address -> AccessList::judge
//! ```

mod address_map;
mod address_set;
mod admission;
mod client;
mod list;
mod sign_in;

pub use address_map::AddressMap;
pub use address_set::{AddressSet, parse_network};
pub use admission::{Admission, NotAdmitted, admit};
pub use client::client_address;
pub use list::{AccessList, AccessVerdict};
pub use sign_in::SignIn;
