//! The egress proxy: what workloads may reach, and nothing else.
//!
//! ```text
//! (TLS) -> head -> Authority -> identity of the client -> its policy -> decide -> resolve once -> judge every answer
//!      -> dial a judged address -> (tunnel: ClientHello names the host) -> relay within limits -> audit
//! ```
//!
//! CONNECT tunnels and plain HTTP in absolute form, and SOCKS5. The decision is
//! [`portcullis_config::egress`]; here is what it needs sockets for.

mod answer;
mod audit;
mod client;
mod closing;
mod connection;
mod credentials;
mod decide;
mod dial;
mod first_bytes;
mod first_flight;
mod forward;
mod head;
mod http2;
mod identify;
mod inspection;
mod offline;
mod overrides;
mod peer;
mod plain;
mod prefixed;
mod quota;
mod reasons;
pub mod relay;
mod resolver;
mod self_test;
mod servers;
mod socks;
mod standing;
mod test_answers;
mod tunnel;
mod upgrade;
mod upstream_proxy;

pub use inspection::SigningAuthority;
pub(crate) use offline::{look_up, reason_in_words, unidentified};
pub(crate) use self_test::{Failed, self_test};
pub use servers::{EgressPlan, EgressServers, EgressServices};
pub use test_answers::TestAnswers;
