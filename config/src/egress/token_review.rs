//! What the API server says of a token, and whether that makes it good.
//!
//! In go the claims of a token that nobody has verified, and the answer to a question about it;
//! out comes who its bearer is. Nothing here asks.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Identity, TokenError};

/// Extra fields of a user that say which pod a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// `status` of a TokenReview (`authentication.k8s.io/v1`), as far as it decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReviewedToken {
    /// Whether the token is that of a known user.
    authenticated: bool,
    user: User,
    /// Those of the asked audiences that it is for. An API server that knows nothing of
    /// audiences leaves it out: then it has not judged them.
    audiences: Vec<String>,
    /// Why it could not be judged, or is not good; for people.
    pub error: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    extra: BTreeMap<String, Vec<String>>,
}

impl ReviewedToken {
    /// Tells whether the answer is a good one for a token whose own words say that its bearer is
    /// `claimed`.
    ///
    /// # Errors
    /// [`TokenError::Rejected`] where it is not authenticated, or as somebody else than it says;
    /// [`TokenError::Audience`] where it is for another audience.
    pub fn judge(&self, claimed: &Identity, audience: &str) -> Result<(), TokenError> {
        if !self.authenticated {
            return Err(TokenError::Rejected);
        }
        if !self.audiences.iter().any(|known| known == audience) {
            return Err(TokenError::Audience);
        }
        let Identity {
            namespace,
            service_account,
            pod,
            pod_uid,
        } = claimed;
        let account = format!("system:serviceaccount:{namespace}:{service_account}");
        // Two words for one thing: where they differ, nobody can say which is meant.
        let is_same = self.user.username == account
            && self.extra(POD_NAME) == pod.as_slice()
            && self.extra(POD_UID) == pod_uid.as_slice();
        match is_same {
            true => Ok(()),
            false => Err(TokenError::Rejected),
        }
    }

    fn extra(&self, key: &str) -> &[String] {
        self.user.extra.get(key).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer() -> Value {
        json!({
            "authenticated": true,
            "user": {
                "username": "system:serviceaccount:ci:builder",
                "uid": "1",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": {
                    "authentication.kubernetes.io/credential-id": ["JTI=7"],
                    "authentication.kubernetes.io/node-name": ["n"],
                    "authentication.kubernetes.io/pod-name": ["build-7"],
                    "authentication.kubernetes.io/pod-uid": ["2"],
                },
            },
            "audiences": ["portcullis"],
        })
    }

    fn claimed(pod: bool) -> Identity {
        Identity {
            namespace: "ci".into(),
            service_account: "builder".into(),
            pod: pod.then(|| "build-7".into()),
            pod_uid: pod.then(|| "2".into()),
        }
    }

    fn judge(answer: &Value, claimed: &Identity) -> Result<(), TokenError> {
        let reviewed = ReviewedToken::deserialize(answer).expect("an answer");
        reviewed.judge(claimed, "portcullis")
    }

    /// The good answer with something else at a place; null takes it away.
    fn with(pointer: &str, value: Value) -> Value {
        let mut answer = answer();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let name = name.replace("~1", "/");
        let parent = answer.pointer_mut(parent).and_then(Value::as_object_mut);
        let parent = parent.expect("an object");
        match value {
            Value::Null => drop(parent.shift_remove(&name)),
            value => drop(parent.insert(name, value)),
        }
        answer
    }

    const NAME: &str = "/user/extra/authentication.kubernetes.io~1pod-name";
    const UID: &str = "/user/extra/authentication.kubernetes.io~1pod-uid";

    #[test]
    fn an_answer_is_good_that_says_what_the_token_says() {
        assert_eq!(judge(&answer(), &claimed(true)), Ok(()));
        let more = with("/audiences", json!(["other", "portcullis"]));
        assert_eq!(judge(&more, &claimed(true)), Ok(()));
        let unbound = with("/user/extra", Value::Null);
        assert_eq!(judge(&unbound, &claimed(false)), Ok(()));
    }

    #[test]
    fn nothing_else_is() {
        use TokenError::{Audience, Rejected};
        for (pointer, value, expected) in [
            ("/authenticated", json!(false), Rejected),
            // Left out where it is false.
            ("/authenticated", Value::Null, Rejected),
            // Of an API server, or a webhook behind it, that does not judge audiences.
            ("/audiences", Value::Null, Audience),
            ("/audiences", json!([]), Audience),
            (
                "/audiences",
                json!(["https://kubernetes.default.svc"]),
                Audience,
            ),
            (
                "/audiences",
                json!(["portcullis-2", "Portcullis"]),
                Audience,
            ),
            ("/user", Value::Null, Rejected),
            ("/user/username", json!("admin"), Rejected),
            ("/user/username", json!("system:node:n"), Rejected),
            (
                "/user/username",
                json!("system:serviceaccount:ci:other"),
                Rejected,
            ),
            (
                "/user/username",
                json!("system:serviceaccount:ci:builder:x"),
                Rejected,
            ),
            ("/user/extra", Value::Null, Rejected),
            (NAME, Value::Null, Rejected),
            (NAME, json!([]), Rejected),
            (NAME, json!(["build-8"]), Rejected),
            (NAME, json!(["build-7", "build-8"]), Rejected),
            (UID, Value::Null, Rejected),
            (UID, json!(["3"]), Rejected),
        ] {
            let answer = with(pointer, value);
            assert_eq!(judge(&answer, &claimed(true)), Err(expected), "{answer}");
        }
        // Nor that of a bound token for one that says it is bound to nothing.
        assert_eq!(judge(&answer(), &claimed(false)), Err(Rejected));
        assert_eq!(judge(&json!({}), &claimed(false)), Err(Rejected));
    }
}
