//! The WAF between HTTP and its engine.
//!
//! ```text
//! request head --begin--> Transaction --phase 1--> body held up to its limit --phase 2--> verdict
//! response head --phase 3--> verdict          end of request --phase 5--> audit record
//! ```
//!
//! A body is inspected before the backend sees a byte of the request.

mod body;
mod budget;
mod kept;
mod limits;
mod pace;
mod waf;

pub(crate) use body::{BodyLimits, BodyRead, content_length, read_body};
pub use budget::BodyBudget;
pub(crate) use budget::Hold;
pub(crate) use kept::count_kept;
pub(crate) use pace::BodyPace;
pub(crate) use waf::{
    WafOutcome, begin, joined_cookies, options, protocol, refusal_of, request_body_is_opaque,
    response_head,
};
