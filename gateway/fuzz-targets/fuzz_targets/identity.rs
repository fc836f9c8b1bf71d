//! What of `identity` in the gateway verifies tokens.

#[path = "../../src/identity/hash_key.rs"]
mod hash_key;
#[path = "../../src/identity/jwks.rs"]
mod jwks;
#[path = "../../src/identity/token.rs"]
mod token;
#[path = "../../src/identity/user_pass.rs"]
mod user_pass;

pub(crate) use token::TokenVerifier;
pub(crate) use user_pass::name_and_password;
