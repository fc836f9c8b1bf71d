//! The first bytes of a tunnel; in pieces they say what they say at once.
//!
//! The first byte of an input is the size of a piece.
#![no_main]
#![allow(dead_code, reason = "the module is that of the gateway")]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/tls/client_hello.rs"]
mod reader;

use reader::{FirstBytes, HelloReader};

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else {
        return;
    };
    let mut whole = HelloReader::default();
    let at_once = whole.read(bytes);
    let mut pieces = HelloReader::default();
    let size = usize::from(*size).max(1);
    let mut end = 0;
    let in_pieces = loop {
        end = (end + size).min(bytes.len());
        match pieces.read(&bytes[..end]) {
            FirstBytes::Incomplete if end < bytes.len() => {}
            other => break other,
        }
    };
    assert_eq!(at_once, in_pieces);
    assert_eq!(whole.may_hide_a_name(), pieces.may_hide_a_name());
    if let FirstBytes::Hello(Some(name)) = at_once {
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
});
