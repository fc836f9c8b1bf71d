//! Looking into TLS: only where an entry of a policy asks for it.
//!
//! ```text
//! ClientHello that was judged -> TLS to the destination, verified -> certificate for its host, signed here -> TLS with
//! the client -> each request: canonical, decided on by the policies of now, inspected, given credentials -> destination
//! ```
//!
//! Nothing that a client has sent inside its tunnel leaves before the destination has shown a certificate for its name.

mod authority;
mod leaves;

pub use authority::SigningAuthority;
