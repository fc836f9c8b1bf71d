use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;

/// A key pair that signs tokens by hand, without the crate that reads them.
enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn rsa(size: KeySize) -> Self {
        Self::Rsa(RsaKeyPair::generate(size).expect("a key"))
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().expect("a key"))
    }

    fn jwk(&self, id: &str) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let public = pair.public_key();
                json!({"kty": "RSA", "kid": id, "use": "sig", "alg": "RS256",
                    "n": encode(public.modulus().big_endian_without_leading_zero()),
                    "e": encode(public.exponent().big_endian_without_leading_zero())})
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "kid": id, "crv": "P-256",
                    "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            Self::Ed(pair) => json!({"kty": "OKP", "kid": id, "crv": "Ed25519",
                "x": encode(pair.public_key().as_ref())}),
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .expect("signed");
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).expect("signed").as_ref().into(),
            Self::Ed(pair) => pair.sign(message).as_ref().into(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims() -> Value {
    json!({"iss": "https://cluster.test", "aud": ["portcullis"], "exp": NOW + 600, "nbf": NOW,
        "sub": "system:serviceaccount:ci:builder",
        "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "builder", "uid": "1"},
            "pod": {"name": "build-7", "uid": "2"}}})
}

fn settings() -> TokenSettings {
    TokenSettings {
        issuer: Some("https://cluster.test".into()),
        audience: "portcullis".into(),
        clock_skew: Duration::from_secs(10),
    }
}

fn made(keys: &Value) -> TokenVerifier {
    let text = json!({ "keys": keys }).to_string();
    TokenVerifier::new(settings(), [0; 32], &text).expect("keys")
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The bearer of a good token, which is bound to the pod with a UID or to none.
pub(crate) fn verified(pod_uid: Option<&str>) -> Arc<Verified> {
    let mut claims = claims();
    claims["kubernetes.io"]["pod"] =
        pod_uid.map_or(Value::Null, |uid| json!({"name": "build-7", "uid": uid}));
    let claims: Claims = serde_json::from_value(claims).expect("claims");
    let (identity, validity) = claims.judge(&settings(), at(NOW)).expect("good ones");
    Arc::new(Verified {
        identity,
        validity,
        by: VerifiedBy::Key([0; 32]),
        settings: settings(),
    })
}

fn reason(verifier: &TokenVerifier, token: &str) -> &'static str {
    match verifier.verify(token.as_bytes(), at(NOW)) {
        Ok(verified) => {
            assert_eq!(verified.identity.service_account, "builder");
            "good"
        }
        Err(error) => error.reason(),
    }
}

#[test]
fn a_token_is_good_by_its_own_key_and_algorithm_alone() {
    let (rsa, ec, ed) = (Signer::rsa(KeySize::Rsa2048), Signer::ec(), Signer::ed());
    let mut any = rsa.jwk("any");
    any.as_object_mut().expect("an object").shift_remove("alg");
    let verifier = made(&json!([rsa.jwk("rsa"), ec.jwk("ec"), ed.jwk("ed"), any]));
    for (signer, alg, kid, expected) in [
        (&rsa, "RS256", "rsa", "good"),
        (&ec, "ES256", "ec", "good"),
        (&ed, "EdDSA", "ed", "good"),
        // The key of the cluster says what it signs with.
        (&rsa, "RS512", "rsa", "bad_algorithm"),
        (&rsa, "PS256", "rsa", "bad_algorithm"),
        (&rsa, "RS512", "any", "good"),
        (&rsa, "PS256", "any", "good"),
        // Another key, under the id of a known one.
        (&ec, "RS256", "rsa", "bad_signature"),
        (&rsa, "ES256", "ec", "bad_signature"),
        (&rsa, "RS256", "ec", "bad_algorithm"),
        (&ec, "ES384", "ec", "bad_algorithm"),
        (&ed, "ES256", "ec", "bad_signature"),
        (&rsa, "none", "rsa", "bad_algorithm"),
        (&rsa, "None", "rsa", "bad_algorithm"),
        (&rsa, "HS256", "rsa", "bad_algorithm"),
        (&rsa, "", "rsa", "bad_algorithm"),
        (&rsa, "RS256", "", "unknown_key"),
        (&rsa, "RS256", "RSA", "unknown_key"),
    ] {
        let token = signer.token(&json!({"alg": alg, "kid": kid}), &claims());
        // Twice: what is remembered must not differ from what was found.
        for _ in 0..2 {
            assert_eq!(reason(&verifier, &token), expected, "{alg} {kid}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret_that_signs() {
    let rsa = Signer::rsa(KeySize::Rsa2048);
    let Signer::Rsa(pair) = &rsa else {
        unreachable!("it is one of RSA")
    };
    let verifier = made(&json!([rsa.jwk("rsa")]));
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::prelude::BASE64_STANDARD.encode(der.as_ref())
    );
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "HS256", "kid": "rsa"});
    let message = format!("{}.{}", part(&header), part(&claims()));
    for secret in [der.as_ref(), pem.as_bytes(), b""] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        let token = format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(reason(&verifier, &token), "bad_algorithm");
    }
}

#[test]
fn what_is_no_token_or_was_changed_is_refused() {
    let ec = Signer::ec();
    let verifier = made(&json!([ec.jwk("k")]));
    let header = json!({"alg": "ES256", "kid": "k"});
    let good = ec.token(&header, &claims());
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        unreachable!("it has three parts")
    };
    let other = json!({"iss": "https://cluster.test", "aud": "portcullis", "exp": NOW + 600,
        "sub": "system:serviceaccount:kube-system:admin",
        "kubernetes.io": {"namespace": "kube-system", "serviceaccount": {"name": "admin", "uid": "1"}}});
    let other = BASE64_URL_SAFE_NO_PAD.encode(other.to_string());
    // Words that the library would read: nothing but `crit` is wrong with it.
    let critical = json!({"alg": "ES256", "kid": "k", "crit": ["exp"], "exp": "1"});
    let unencoded = json!({"alg": "ES256", "kid": "k", "b64": false});
    for (token, expected) in [
        (good.clone(), "good"),
        (String::new(), "bad_token"),
        ("a.b.c".into(), "bad_token"),
        ("..".into(), "bad_token"),
        (format!("{head}.{body}"), "bad_token"),
        (format!("{head}.{body}."), "bad_signature"),
        (format!("{good}."), "bad_token"),
        (format!("{good}="), "bad_token"),
        (format!("{good}, Basic eDp5"), "bad_token"),
        (format!("{head}.{other}.{signature}"), "bad_signature"),
        (
            format!("{head}.{body}.{}", &signature[2..]),
            "bad_signature",
        ),
        (format!("{head}.{body}.{}", "A".repeat(86)), "bad_signature"),
        (ec.token(&critical, &claims()), "bad_token"),
        (ec.token(&unencoded, &claims()), "bad_token"),
        (ec.token(&json!({"alg": "ES256"}), &claims()), "unknown_key"),
        (ec.token(&json!({"kid": "k"}), &claims()), "bad_token"),
        (ec.token(&header, &json!([])), "bad_token"),
        (ec.token(&header, &json!({"iss": 1})), "bad_token"),
        (ec.token(&header, &json!({})), "bad_issuer"),
    ] {
        assert_eq!(reason(&verifier, &token), expected, "{token}");
    }
    let twice = head.to_owned() + "\u{e9}";
    assert_eq!(
        reason(&verifier, &format!("{twice}.{body}.{signature}")),
        "bad_token"
    );
}

#[test]
fn a_remembered_token_ends_with_its_time_and_with_its_key() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let token = old.token(&json!({"alg": "ES256", "kid": "old"}), &claims());
    let verifier = made(&json!([old.jwk("old")]));
    let verified = verifier.verify(token.as_bytes(), at(NOW)).expect("good");
    assert!(Arc::ptr_eq(
        &verified,
        &verifier
            .verify(token.as_bytes(), at(NOW + 609))
            .expect("good")
    ));
    let late = verifier.verify(token.as_bytes(), at(NOW + 610));
    assert_eq!(late, Err(TokenError::Expired));
    // A rotation: both keys, the old one under another id, then the new one alone.
    let both = made(&json!([new.jwk("new"), old.jwk("old")]));
    let renamed = made(&json!([new.jwk("old"), old.jwk("renamed")]));
    let gone = made(&json!([new.jwk("old")]));
    assert_eq!(reason(&both, &token), "good");
    assert_eq!(reason(&gone, &token), "bad_signature");
    for (after, expected) in [(&both, true), (&renamed, true), (&gone, false)] {
        assert_eq!(after.trusts(&verified), expected);
    }
    let mut other = made(&json!([old.jwk("old")]));
    other.settings.clock_skew = Duration::ZERO;
    assert!(other.trusts(&verified));
    other.settings.audience = "other".into();
    assert!(!other.trusts(&verified));
}

#[test]
fn a_set_of_keys_is_refused_where_it_would_mislead_and_told_what_is_left_out() {
    let ec = Signer::ec();
    let good = ec.jwk("k");
    let with = |changes: Value| {
        let mut jwk = good.clone();
        let object = jwk.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            object.insert(name.clone(), value.clone());
        }
        jwk
    };
    let told = |keys: Value| {
        let text = json!({ "keys": keys }).to_string();
        match TokenVerifier::new(settings(), [0; 32], &text) {
            Ok(made) => (true, made.left_out.join("; ")),
            Err(reasons) => (false, reasons.join("; ")),
        }
    };
    assert_eq!(told(json!([good])), (true, String::new()));
    let refused = |keys: Value, expected: &str| {
        let (is_good, reason) = told(keys);
        assert!(!is_good && reason.contains(expected), "{reason}");
    };
    refused(json!([]), "no key that can be used");
    refused(json!([good, good]), "keys[1]: the id \"k\" is taken");
    refused(
        json!([good, with(json!({"kid": "d", "d": "AA"}))]),
        "keys[1]: it is a secret",
    );
    refused(
        json!([good, {"kty": "oct", "kid": "s", "k": "AA"}]),
        "keys[1]: it is a secret",
    );
    let text = TokenVerifier::new(settings(), [0; 32], "[").expect_err("no JSON");
    assert!(text[0].contains("no JSON Web Key Set"), "{text:?}");
    let short = Signer::rsa(KeySize::Rsa2048).jwk("s");
    let n = short["n"].as_str().expect("text")[..200].to_owned();
    let short = json!({"kty": "RSA", "kid": "s", "n": n, "e": "AQAB"});
    for (key, expected) in [
        (with(json!({"kid": null})), "no id"),
        (
            with(json!({"kid": "e", "use": "enc"})),
            "not for signatures",
        ),
        (
            with(json!({"kid": "e", "alg": "RS256"})),
            "not one of its kind",
        ),
        (
            with(json!({"kid": "e", "y": "AAAA"})),
            "no point of its curve",
        ),
        (
            with(json!({"kid": "e", "y": good["x"]})),
            "no point of its curve",
        ),
        (with(json!({"kid": "e", "crv": "P-521"})), "none of P-256"),
        (
            json!({"kty": "OKP", "kid": "e", "crv": "Ed25519", "x": "AAAA"}),
            "none of P-256",
        ),
        (json!({"kty": "new", "kid": "e"}), ""),
        (short, "2048 to 8192 bits"),
    ] {
        let (is_good, reason) = told(json!([good, key]));
        let begins = reason.starts_with("keys[1] is left out: ");
        assert!(is_good && begins && reason.contains(expected), "{reason}");
        refused(json!([key]), "no key that can be used");
    }
}
