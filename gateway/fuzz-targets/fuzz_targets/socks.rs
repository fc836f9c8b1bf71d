//! A client of SOCKS5; what it asks for is a destination as one of CONNECT is.
#![no_main]
#![allow(dead_code, reason = "the module is that of the gateway")]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use portcullis_config::egress::Authority;
use tokio::runtime::{Builder, Runtime};

#[path = "../../src/egress/socks/request.rs"]
mod request;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

fuzz_target!(|input: &[u8]| {
    let mut client = tokio::io::join(input, tokio::io::sink());
    let mut buffer = BytesMut::new();
    let asked = request::ask(&mut client, &mut buffer);
    let asked = RUNTIME.with(|runtime| runtime.block_on(asked));
    match asked {
        Ok(Ok(authority)) => {
            assert_ne!(authority.port, 0);
            let text = authority.to_string();
            assert_eq!(Authority::parse(text.as_bytes(), None), Ok(authority));
        }
        Ok(Err(bad)) => assert!(!bad.reason.is_empty()),
        // It said too little.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof),
    }
});
