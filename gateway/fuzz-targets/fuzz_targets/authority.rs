//! A destination; what is accepted has one form, and that form means the same.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use portcullis_config::egress::{Authority, Host};

fuzz_target!(|input: &[u8]| {
    for default_port in [None, Some(443)] {
        let Ok(authority) = Authority::parse(input, default_port) else {
            continue;
        };
        let text = authority.to_string();
        assert_eq!(
            Authority::parse(text.as_bytes(), None),
            Ok(authority.clone())
        );
        assert_ne!(authority.port, 0);
        if let Host::Name(name) = &authority.host {
            // Whoever resolves it must not find an address in it.
            assert!(name.parse::<IpAddr>().is_err());
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'-' | b'_' | b'.')));
            assert!(!name.starts_with('.') && !name.ends_with('.') && !name.contains(".."));
        }
    }
});
