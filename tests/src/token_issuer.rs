//! Tokens of ServiceAccounts, as the API server of a cluster makes them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};

/// Signs tokens with a key of its own.
pub struct TokenIssuer {
    key: EncodingKey,
    id: String,
}

impl TokenIssuer {
    /// Issuer of its tokens.
    pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    /// Makes one whose key has this id.
    pub fn new(id: &str) -> Self {
        let pair = KeyPair::generate().expect("a key is made");
        Self {
            key: EncodingKey::from_ec_der(&pair.serialize_der()),
            id: id.to_owned(),
        }
    }

    /// The public keys of some, as `/openid/v1/jwks` has them.
    pub fn jwks(issuers: &[&Self]) -> String {
        let jwk = |issuer: &&Self| {
            let mut jwk = Jwk::from_encoding_key(&issuer.key, Algorithm::ES256).expect("a key");
            jwk.common.key_id = Some(issuer.id.clone());
            jwk
        };
        json!({ "keys": issuers.iter().map(jwk).collect::<Vec<_>>() }).to_string()
    }

    /// What the token of a pod says that is good for so many seconds.
    pub fn claims(audience: &str, account: (&str, &str), seconds: u64) -> Value {
        let (namespace, name) = account;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a clock past 1970").as_secs();
        json!({
            "iss": Self::ISSUER,
            "aud": [audience],
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": "8c9a7a1c-1111-4c2e-9b5e-000000000001"},
                "pod": {"name": format!("{name}-0"), "uid": "8c9a7a1c-1111-4c2e-9b5e-000000000002"},
                "node": {"name": "node-1", "uid": "8c9a7a1c-1111-4c2e-9b5e-000000000003"},
            },
        })
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &self.key).expect("a token is signed")
    }
}
