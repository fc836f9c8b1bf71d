//! The Portcullis gateway.
