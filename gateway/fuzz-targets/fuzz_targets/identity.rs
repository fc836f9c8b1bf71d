//! What of `identity` in the gateway verifies tokens.

#[path = "../../src/identity/hash_key.rs"]
mod hash_key;
#[path = "../../src/identity/jwks.rs"]
mod jwks;
#[path = "../../src/identity/token.rs"]
mod token;
#[path = "../../src/identity/token_parts.rs"]
mod token_parts;
#[path = "../../src/identity/user_pass.rs"]
mod user_pass;
#[path = "../../src/identity/verified.rs"]
mod verified;

pub(crate) use token::TokenVerifier;
pub(crate) use user_pass::name_and_password;
