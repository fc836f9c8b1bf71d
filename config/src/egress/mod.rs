//! The egress decision: plain functions over plain data.
//!
//! ```text
//! claims of a token -> Identity (-> ReviewedToken: the API server says the same)
//! bytes -> Authority -> select policies (-> originated: over TLS) -> decide (name, port)    before any DNS query
//!                              answers -> judge_addresses         all of them, before any dial
//! ```
//!
//! One canonical form is parsed, decided on and dialled. A denied name is never
//! looked up: the look-up itself would carry data out.

mod authority;
mod blocked_names;
mod certificate;
mod class;
mod decide;
#[cfg(test)]
mod decide_tests;
mod explain;
mod inspection;
#[cfg(test)]
mod inspection_tests;
mod label;
mod no_proxy;
mod origination;
#[cfg(test)]
mod origination_tests;
mod policies;
mod policy;
mod proxy_url;
mod quota;
mod rule;
mod rules;
mod subjects;
mod token;
mod token_review;
mod upstream_proxy;

pub use authority::{Authority, AuthorityError, Host};
pub use blocked_names::is_ech_public_name;
pub use certificate::{CertificateIdentity, SpiffeId, SpiffeIds};
pub use class::AddressClass;
pub use decide::{Decision, Grant, Refused, Request, decide, judge_addresses};
pub use explain::{Explanation, Opinion, Outcome, explain};
pub use inspection::{ClientCredential, HttpRequest, Injection, Inspection, Wanted};
pub(crate) use label::is_subdomain;
pub use label::{Label, is_namespace};
pub use no_proxy::{BadNoProxyEntry, NoProxy, NoProxyEntry};
pub use policies::{Beginnings, EgressPolicies, Selected};
pub use policy::{Delegate, EgressPolicy};
pub use proxy_url::{BadProxyUrl, ProxyUrl};
pub use quota::{Allowance, EgressQuota, QuotaPart, QuotaPlace};
pub use rule::{EgressRule, Target};
pub use rules::EgressRules;
pub use subjects::{Certificates, Client, Identity, ServiceAccounts, Subject, Subjects};
pub use token::{Claims, TokenError, TokenSettings, Validity};
pub use token_review::ReviewedToken;
pub use upstream_proxy::{Destinations, UpstreamProxy, UpstreamProxyResolve, UpstreamProxyTls};
