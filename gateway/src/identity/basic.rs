//! Names and passwords (RFC 7617).

use std::{fmt, sync::Arc};

use http::{HeaderMap, header};
use portcullis_config::model::Basic;
use quick_cache::sync::Cache;

use super::{
    hash_key::HashKey, password_checks::PasswordChecks, user_pass::name_and_password, users::Users,
};

/// Credentials that are remembered as good at once.
const MAX_VERIFIED: usize = 10_000;

/// Longest name and password together, in bytes.
const MAX_CREDENTIALS: usize = 1024;

/// Checks names and passwords against a file.
pub struct BasicCheck {
    checks: Arc<PasswordChecks>,
    known: Arc<Known>,
}

/// What a check needs that runs beside the request.
struct Known {
    users: Users,
    key: HashKey,
    /// Credentials that were right, by their keyed hash: each request of a session
    /// has them, and a hash is slow by design. They are forgotten with the file.
    verified: Cache<[u8; 32], ()>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasicVerdict {
    /// The client is this user.
    User(String),
    /// It sent no name and password.
    Missing,
    /// They are not right.
    Wrong,
    /// Too many are being checked.
    Busy,
}

struct Credentials {
    name: String,
    password: Vec<u8>,
}

impl BasicCheck {
    /// Makes a check from the text of a users file.
    ///
    /// # Errors
    /// Every line that is wrong.
    pub(super) fn new(text: &str, checks: &Arc<PasswordChecks>) -> Result<Self, Vec<String>> {
        Ok(Self {
            checks: Arc::clone(checks),
            known: Arc::new(Known {
                users: Users::parse(text)?,
                key: HashKey::random().map_err(|error| vec![error])?,
                verified: Cache::new(MAX_VERIFIED),
            }),
        })
    }

    /// Whether nobody can pass.
    pub(super) fn is_empty(&self) -> bool {
        self.known.users.is_empty()
    }

    /// Checks the credentials of a request.
    pub async fn check(&self, headers: &HeaderMap) -> BasicVerdict {
        let credentials = match credentials(headers) {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return BasicVerdict::Missing,
            Err(()) => return BasicVerdict::Wrong,
        };
        let known = &self.known;
        let name = credentials.name.as_bytes();
        let hash = known.key.hash([name, &credentials.password]);
        if known.verified.get(&hash).is_some() {
            return BasicVerdict::User(credentials.name);
        }
        let (known, name) = (Arc::clone(known), credentials.name.clone());
        let checked = self
            .checks
            .run(move || known.verify(&credentials, hash))
            .await;
        match checked {
            Some(true) => BasicVerdict::User(name),
            Some(false) => BasicVerdict::Wrong,
            None => BasicVerdict::Busy,
        }
    }
}

impl Known {
    fn verify(&self, credentials: &Credentials, hash: [u8; 32]) -> bool {
        // A browser sends several requests at once: the first may be through by now.
        if self.verified.get(&hash).is_some() {
            return true;
        }
        let Some(candidate) = self.users.find(&credentials.name, &self.key) else {
            return false;
        };
        let right = candidate.hash.verify(&credentials.password) && candidate.known;
        if right {
            self.verified.insert(hash, ());
        }
        right
    }
}

impl fmt::Debug for BasicCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCheck")
    }
}

/// The `WWW-Authenticate` value that asks for a name and password.
pub fn challenge(basic: &Basic) -> String {
    let realm = basic.realm.replace('\\', "\\\\").replace('"', "\\\"");
    format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")
}

/// The name and password of a request; `None` where it has none, an error where
/// nobody could say which.
fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, ()> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        // One may be meant for us and the other for the backend, or so it says.
        return Err(());
    }
    let field = field.as_bytes();
    let Some((scheme, token)) = field.split_at_checked("Basic ".len()) else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return Ok(None);
    }
    let (name, password) = name_and_password(token, MAX_CREDENTIALS).ok_or(())?;
    Ok(Some(Credentials {
        name: String::from_utf8(name).map_err(drop)?,
        password,
    }))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use http::HeaderValue;

    use super::*;

    const FILE: &str = "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
        bert:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

    fn fields(values: &[&str]) -> HeaderMap {
        let name = |value: &&str| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        values.iter().map(name).collect()
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    #[tokio::test]
    async fn credentials_pass_in_every_form_that_is_right_and_in_no_other() {
        let check = BasicCheck::new(FILE, &Arc::default()).unwrap();
        let user = |name: &str| BasicVerdict::User(name.to_owned());
        let long = "x".repeat(2000);
        for (values, expected) in [
            (vec![], BasicVerdict::Missing),
            (vec![basic("anna:secret")], user("anna")),
            (vec![basic("bert:secret")], user("bert")),
            (
                vec![basic("anna:secret").replace("Basic", "bAsIc")],
                user("anna"),
            ),
            (vec![basic("anna:secret").replace('=', "")], user("anna")),
            (vec!["Basic  YW5uYTpzZWNyZXQ= ".into()], user("anna")),
            (vec![basic("anna:Secret")], BasicVerdict::Wrong),
            (vec![basic("anna:secret:x")], BasicVerdict::Wrong),
            (vec![basic("Anna:secret")], BasicVerdict::Wrong),
            (vec![basic("anna")], BasicVerdict::Wrong),
            (vec![basic(":secret")], BasicVerdict::Wrong),
            (vec![basic(&format!("anna:{long}"))], BasicVerdict::Wrong),
            (vec!["Basic %%%".into()], BasicVerdict::Wrong),
            (vec!["Basic".into()], BasicVerdict::Missing),
            (
                vec!["Bearer YW5uYTpzZWNyZXQ=".into()],
                BasicVerdict::Missing,
            ),
            (
                vec!["Basic\tYW5uYTpzZWNyZXQ=".into()],
                BasicVerdict::Missing,
            ),
            (
                vec![basic("anna:secret"), basic("anna:secret")],
                BasicVerdict::Wrong,
            ),
            (
                vec!["Bearer x".into(), basic("anna:secret")],
                BasicVerdict::Wrong,
            ),
        ] {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            // Twice: what is remembered must not differ from what was found.
            for _ in 0..2 {
                assert_eq!(check.check(&fields(&values)).await, expected, "{values:?}");
            }
        }
        assert_eq!(check.known.verified.len(), 2);
    }

    #[tokio::test]
    async fn a_file_of_nobody_lets_nobody_pass() {
        let check = BasicCheck::new("", &Arc::default()).unwrap();
        let sent = basic("anna:secret");
        assert_eq!(check.check(&fields(&[&sent])).await, BasicVerdict::Wrong);
    }

    /// What an attacker could measure: with a wrong password, users that are there
    /// and users that are not cost the same kinds of hashes.
    #[test]
    fn an_unknown_user_costs_what_a_known_one_does() {
        let users = Users::parse(FILE).ok().unwrap();
        let key = HashKey::random().unwrap();
        let mut drawn = [false; 2];
        for n in 0..100 {
            let name = format!("nobody{n}");
            let first = users.find(&name, &key).unwrap();
            assert!(!first.known);
            let again = users.find(&name, &key).unwrap();
            assert!(std::ptr::eq(first.hash, again.hash), "{name}");
            let anna = users.find("anna", &key).unwrap();
            drawn[usize::from(std::ptr::eq(first.hash, anna.hash))] = true;
        }
        assert_eq!(drawn, [true, true]);
    }

    #[test]
    fn a_realm_is_quoted() {
        let basic = Basic {
            realm: r#"the "shop" \ staff"#.into(),
            ..Basic::default()
        };
        let expected = r#"Basic realm="the \"shop\" \\ staff", charset="UTF-8""#;
        assert_eq!(challenge(&basic), expected);
    }
}
