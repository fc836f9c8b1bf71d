//! `Proxy-Authorization`, and tokens; nobody is known by one that was not signed for him.
//!
//! The first byte of an input says what the rest is: the value of the header, or claims that are
//! signed here with the key that is trusted.
#![no_main]
#![allow(dead_code, reason = "the modules are those of the gateway")]

use std::{sync::LazyLock, time::SystemTime};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use libfuzzer_sys::fuzz_target;
use portcullis_config::egress::TokenSettings;

#[path = "../../src/egress/credentials.rs"]
mod credentials;
mod identity;

use credentials::Credentials;
use identity::TokenVerifier;

static PAIR: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")
});

static VERIFIER: LazyLock<TokenVerifier> = LazyLock::new(|| {
    // An uncompressed point: a byte, and two coordinates of 32.
    let point = PAIR.public_key().as_ref();
    let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..65]));
    let keys = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","use":"sig","alg":"ES256","x":"{x}","y":"{y}"}}]}}"#
    );
    let settings = TokenSettings {
        issuer: Some("i".into()),
        audience: "a".into(),
        clock_skew: std::time::Duration::from_secs(10),
    };
    TokenVerifier::new(settings, [0; 32], &keys).expect("keys")
});

fn signed(claims: &[u8]) -> Vec<u8> {
    let header = BASE64.encode(r#"{"alg":"ES256","kid":"k"}"#);
    let text = format!("{header}.{}", BASE64.encode(claims));
    let signature = PAIR.sign(&SystemRandom::new(), text.as_bytes());
    let signature = BASE64.encode(signature.expect("a signature"));
    format!("{text}.{signature}").into_bytes()
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    if kind % 2 == 0 {
        let Credentials::Token(token) = Credentials::read(&[rest]) else {
            return;
        };
        assert!(!token.is_empty() && token.len() <= credentials::MAX_TOKEN);
        assert!(VERIFIER.verify(&token, SystemTime::now()).is_err(), "nobody signed it");
        return;
    }
    let token = signed(rest);
    if let Ok(verified) = VERIFIER.verify(&token, SystemTime::now()) {
        let claims: serde_json::Value = serde_json::from_slice(rest).expect("JSON");
        assert_eq!(claims["iss"], "i");
        let who = &verified.identity;
        let subject = format!("system:serviceaccount:{}:{}", who.namespace, who.service_account);
        assert_eq!(claims["sub"], subject);
        // Whatever was verified once is the same again.
        assert!(VERIFIER.verify(&token, SystemTime::now()).is_ok());
    }
});
