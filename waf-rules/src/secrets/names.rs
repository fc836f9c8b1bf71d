//! Names whose values are secrets.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

/// A name that has one of these anywhere is of a secret; letters and digits count alone.
const ANYWHERE: &[&str] = &[
    "accesskey",
    "apikey",
    "authorization",
    "credential",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwort",
    "privatekey",
    "secret",
    "sessid",
    "sessionid",
    "sessionkey",
    "signature",
    "token",
];

/// A name that has one of these as a word is of a secret. As parts of words they are common.
const WORDS: &[&str] = &[
    "auth", "cookie", "cvc", "cvv", "jwt", "otp", "pass", "pin", "pw", "pwd", "sid", "sig", "totp",
];

/// How the names in [`ANYWHERE`] and [`WORDS`] stand in a text that nobody took apart.
const IN_TEXT: &[&str] = &[
    "access-key",
    "access_key",
    "accesskey",
    "api-key",
    "api_key",
    "apikey",
    "authorization",
    "credential",
    "jwt",
    "passcode",
    "passphrase",
    "passw",
    "passwd",
    "private-key",
    "private_key",
    "privatekey",
    "pwd",
    "secret",
    "sessid",
    "session_id",
    "sessionid",
    "signature",
    "token",
];

/// Decides by its name whether a header, an argument or a cookie is a secret.
///
/// Names of passwords, tokens, keys and sessions are known, in any case and with any
/// separators: `user[password]`, `X-Api-Key`, `json.auth.otp`. More can be added; none can
/// be taken away.
///
/// # Examples
///
/// ```
/// use portcullis_waf::SecretNames;
///
/// let names = SecretNames::new(["member-number"]);
/// assert!(names.has(b"newPassword") && names.has(b"X-API-Key") && names.has(b"memberNumber2"));
/// assert!(!names.has(b"passenger") && !names.has(b"q"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretNames {
    /// In lower case, letters and digits alone.
    more: Vec<String>,
}

impl SecretNames {
    /// Adds names to those that are known. A name that has one of them anywhere, without
    /// regard to case and separators, is of a secret. Those without letters and digits are
    /// left out.
    pub fn new(more: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let more = more
            .into_iter()
            .map(|name| letters(name.as_ref().as_bytes()));
        Self {
            more: more.filter(|name| !name.is_empty()).collect(),
        }
    }

    /// Tells whether the value of a name is a secret.
    pub fn has(&self, name: &[u8]) -> bool {
        static NAMES: LazyLock<AhoCorasick> =
            LazyLock::new(|| AhoCorasick::new(ANYWHERE).expect("a few short words are no problem"));
        // Every name of a request is asked about, and nearly all are short.
        let mut buffer = [0; 64];
        let long;
        let letters = match short_letters(name, &mut buffer) {
            Some(letters) => letters,
            None => {
                long = letters(name);
                long.as_bytes()
            }
        };
        NAMES.is_match(letters)
            || self.more.iter().any(|part| memmem::find(letters, part.as_bytes()).is_some())
            || has_word(name)
            // As a part of other names it is common: `session.gc_maxlifetime`.
            || letters == b"session"
    }

    /// Tells the same by the names alone that were added.
    pub(crate) fn has_more(&self, name: &[u8]) -> bool {
        !self.more.is_empty() && self.has(name)
    }

    /// Tells whether a text that nobody took apart may hold one of the names.
    pub(crate) fn may_stand_in(&self, text: &[u8]) -> bool {
        mentions_secret(text)
            || (!self.more.is_empty() && {
                let letters = letters(text);
                self.more.iter().any(|name| letters.contains(name))
            })
    }
}

/// Tells whether a text has the name of a secret in it, such as `"password":`.
fn mentions_secret(text: &[u8]) -> bool {
    static NAMES: LazyLock<AhoCorasick> = LazyLock::new(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(IN_TEXT)
            .expect("a few short words are no problem")
    });
    NAMES.is_match(text)
}

fn letters(name: &[u8]) -> String {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    letters
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect()
}

/// As [`letters`], of a name that fits.
fn short_letters<'b>(name: &[u8], buffer: &'b mut [u8; 64]) -> Option<&'b [u8]> {
    if name.len() > buffer.len() {
        return None;
    }
    let mut length = 0;
    for byte in name.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        buffer[length] = byte.to_ascii_lowercase();
        length += 1;
    }
    Some(&buffer[..length])
}

/// Tells whether one of [`WORDS`] is a word of a name. Words end at separators, at digits,
/// and at `aB`.
fn has_word(name: &[u8]) -> bool {
    let is_known = |word: &[u8]| {
        let mut known = WORDS.iter();
        known.any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    };
    let mut start = 0;
    for (at, byte) in name.iter().enumerate() {
        let is_letter = byte.is_ascii_alphabetic();
        let is_hump = byte.is_ascii_uppercase() && at > start && name[at - 1].is_ascii_lowercase();
        if !is_letter || is_hump {
            if is_known(&name[start..at]) {
                return true;
            }
            start = at + usize::from(!is_letter);
        }
    }
    is_known(&name[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        let names = SecretNames::default();
        for name in [
            "password",
            "newPassword",
            "user[pass]",
            "json.user.PASSWD",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Api-Key",
            "api_key",
            "client_secret",
            "access-token",
            "X-CSRF-Token",
            "X-Auth",
            "userPin",
            "pin2",
            "PHPSESSID",
            "sid",
            "session",
            "session_key",
        ] {
            assert!(names.has(name.as_bytes()), "{name}");
        }
        for name in [
            "q",
            "passenger",
            "compass",
            "spin",
            "author",
            "Content-Type",
            "User-Agent",
            "inside",
            "session.referer_check",
            "",
        ] {
            assert!(!names.has(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_can_be_added() {
        let names = SecretNames::new(["X-Member", "--"]);
        assert!(names.has(b"x_member_no"));
        assert!(names.may_stand_in(b"{\"X-Member\": 1}"));
        assert!(!names.may_stand_in(b"{\"name\": 1}"));
        assert!(!names.has(b"q"));
    }
}
