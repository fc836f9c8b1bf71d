//! What the token of a ServiceAccount says, and whether it is good here and now.
//!
//! In go the claims of a token whose signature was verified; out comes who its bearer is. Nothing
//! here knows of keys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::Identity;

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// Who made it; `None` where whoever judges its signature knows that.
    pub issuer: Option<String>,
    /// What it is for.
    pub audience: String,
    /// By how much clocks may differ.
    pub clock_skew: Duration,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JSON Web Token, or has parts that nobody here understands.
    #[error("it is no token that can be read")]
    Malformed,
    /// Its key signs with another algorithm, or it is not signed at all.
    #[error("its key does not sign with this algorithm")]
    Algorithm,
    /// It is signed with a key that is not known.
    #[error("its key is not known")]
    UnknownKey,
    /// Its key has not signed it.
    #[error("its signature is wrong")]
    Signature,
    /// The API server does not take it for good: not signed by the cluster, or of something that
    /// is gone.
    #[error("the API server rejects it")]
    Rejected,
    /// Somebody else made it.
    #[error("it is of another issuer")]
    Issuer,
    /// It is for something else.
    #[error("it is for another audience")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It does not expire, or names no ServiceAccount.
    #[error("it is no token of a ServiceAccount that expires")]
    NotServiceAccount,
}

impl TokenError {
    /// Stable reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "bad_token",
            Self::Algorithm => "bad_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "bad_signature",
            Self::Rejected => "token_rejected",
            Self::Issuer => "bad_issuer",
            Self::Audience => "bad_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::NotServiceAccount => "not_service_account",
        }
    }
}

/// The claims of a token (RFC 7519 section 4.1), and those that Kubernetes adds.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audiences>,
    exp: Option<u64>,
    nbf: Option<u64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<KubernetesClaims>,
}

/// One audience, or some.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Some(Vec<String>),
}

#[derive(Clone, Debug, Deserialize)]
struct KubernetesClaims {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    name: String,
    uid: String,
}

/// When a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    from: Option<SystemTime>,
    until: SystemTime,
}

impl Validity {
    /// When it ends.
    pub fn until(&self) -> SystemTime {
        self.until
    }

    /// Tells whether it is good now.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::NotYetValid`].
    pub fn judge(&self, now: SystemTime, clock_skew: Duration) -> Result<(), TokenError> {
        let over = now
            .checked_sub(clock_skew)
            .is_some_and(|now| now >= self.until);
        let to_come = |from: SystemTime| now.checked_add(clock_skew).is_none_or(|now| now < from);
        match self.from {
            _ if over => Err(TokenError::Expired),
            Some(from) if to_come(from) => Err(TokenError::NotYetValid),
            _ => Ok(()),
        }
    }
}

impl Claims {
    /// Tells who the bearer is, and when that holds.
    ///
    /// # Errors
    /// Why the token is not good: another issuer or audience, its time, what it is of.
    pub fn judge(
        &self,
        wanted: &TokenSettings,
        now: SystemTime,
    ) -> Result<(Identity, Validity), TokenError> {
        if wanted.issuer.is_some() && self.iss != wanted.issuer {
            return Err(TokenError::Issuer);
        }
        let is_for_us = match &self.aud {
            None => false,
            Some(Audiences::One(audience)) => *audience == wanted.audience,
            Some(Audiences::Some(audiences)) => audiences.contains(&wanted.audience),
        };
        if !is_for_us {
            return Err(TokenError::Audience);
        }
        let at = |seconds: u64| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let validity = Validity {
            // A time that no clock reaches has not come.
            from: match self.nbf.map(|from| at(from).ok_or(TokenError::NotYetValid)) {
                Some(from) => Some(from?),
                None => None,
            },
            // Old tokens, of Secrets, are good for ever: nothing ends what one of them opens.
            until: self.exp.and_then(at).ok_or(TokenError::NotServiceAccount)?,
        };
        validity.judge(now, wanted.clock_skew)?;
        Ok((self.identity()?, validity))
    }

    fn identity(&self) -> Result<Identity, TokenError> {
        let claims = self
            .kubernetes
            .as_ref()
            .ok_or(TokenError::NotServiceAccount)?;
        let (namespace, account) = (&claims.namespace, &claims.serviceaccount.name);
        // Two words for one thing: where they differ, nobody can say which is meant.
        let subject = format!("system:serviceaccount:{namespace}:{account}");
        if self.sub.as_ref() != Some(&subject) {
            return Err(TokenError::NotServiceAccount);
        }
        Ok(Identity {
            namespace: namespace.clone(),
            service_account: account.clone(),
            pod: claims.pod.as_ref().map(|pod| pod.name.clone()),
            pod_uid: claims.pod.as_ref().map(|pod| pod.uid.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn good() -> Value {
        json!({
            "iss": "https://cluster.test",
            "sub": "system:serviceaccount:ci:builder",
            "aud": ["portcullis"],
            "exp": NOW + 600,
            "nbf": NOW,
            "iat": NOW,
            "kubernetes.io": {
                "namespace": "ci",
                "serviceaccount": {"name": "builder", "uid": "1"},
                "pod": {"name": "build-7", "uid": "2"},
                "node": {"name": "n", "uid": "3"},
                "warnafter": NOW + 500,
            },
        })
    }

    fn judge(claims: &Value, now: u64) -> Result<Identity, TokenError> {
        let wanted = TokenSettings {
            issuer: Some("https://cluster.test".into()),
            audience: "portcullis".into(),
            clock_skew: Duration::from_secs(10),
        };
        let claims = Claims::deserialize(claims).map_err(|_| TokenError::Malformed)?;
        let judged = claims.judge(&wanted, UNIX_EPOCH + Duration::from_secs(now));
        judged.map(|(identity, _)| identity)
    }

    /// The good claims with some replaced; null takes one away.
    fn with(changes: &[(&str, Value)]) -> Value {
        let mut claims = good();
        for (path, value) in changes {
            let (parent, name) = path.rsplit_once('/').expect("a pointer");
            let parent = claims.pointer_mut(parent).and_then(Value::as_object_mut);
            let parent = parent.expect("an object");
            match value {
                Value::Null => drop(parent.shift_remove(name)),
                value => drop(parent.insert((*name).to_owned(), value.clone())),
            }
        }
        claims
    }

    #[test]
    fn a_good_token_says_who_its_bearer_is() {
        let expected = Identity {
            namespace: "ci".into(),
            service_account: "builder".into(),
            pod: Some("build-7".into()),
            pod_uid: Some("2".into()),
        };
        assert_eq!(judge(&good(), NOW), Ok(expected.clone()));
        let one = with(&[("/aud", json!("portcullis"))]);
        assert_eq!(judge(&one, NOW), Ok(expected.clone()));
        let unbound = Identity {
            pod: None,
            pod_uid: None,
            ..expected
        };
        let no_pod = with(&[("/kubernetes.io/pod", Value::Null)]);
        assert_eq!(judge(&no_pod, NOW), Ok(unbound));
    }

    #[test]
    fn each_claim_that_is_wrong_has_its_reason() {
        use TokenError::{Audience, Issuer, Malformed, NotServiceAccount, NotYetValid};
        for (path, value, expected) in [
            ("/iss", Value::Null, Issuer),
            ("/iss", json!("https://cluster.test/"), Issuer),
            ("/aud", Value::Null, Audience),
            ("/aud", json!([]), Audience),
            ("/aud", json!("https://kubernetes.default.svc"), Audience),
            ("/aud", json!(["portcullis-2", "Portcullis"]), Audience),
            ("/aud", json!({"portcullis": 1}), Malformed),
            ("/exp", Value::Null, NotServiceAccount),
            ("/exp", json!(u64::MAX), NotServiceAccount),
            ("/exp", json!("1900000000"), Malformed),
            ("/exp", json!(-1), Malformed),
            ("/nbf", json!(u64::MAX), NotYetValid),
            ("/sub", Value::Null, NotServiceAccount),
            (
                "/sub",
                json!("system:serviceaccount:ci:other"),
                NotServiceAccount,
            ),
            ("/kubernetes.io", Value::Null, NotServiceAccount),
            (
                "/kubernetes.io/namespace",
                json!("kube-system"),
                NotServiceAccount,
            ),
            (
                "/kubernetes.io/serviceaccount/name",
                json!("x"),
                NotServiceAccount,
            ),
            ("/kubernetes.io/serviceaccount", json!("builder"), Malformed),
        ] {
            let claims = with(&[(path, value)]);
            assert_eq!(judge(&claims, NOW), Err(expected), "{claims}");
        }
    }

    #[test]
    fn clocks_may_differ_by_so_much_and_not_by_a_second_more() {
        for (now, expected) in [
            (NOW - 11, Some(TokenError::NotYetValid)),
            (NOW - 10, None),
            (NOW + 609, None),
            (NOW + 610, Some(TokenError::Expired)),
        ] {
            assert_eq!(judge(&good(), now).err(), expected, "{now}");
        }
    }
}
