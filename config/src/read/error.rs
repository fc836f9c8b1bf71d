//! Errors of serde, with places and proposals.

use std::fmt;

use serde::de::{self, Unexpected};

use super::{hints, node::Place, path::Path};

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// Where, and at which document path.
    pub(super) place: Option<(Place, String)>,
    /// The key that is missing from the map at that place.
    pub(super) missing: Option<&'static str>,
}

impl ReadError {
    /// Gives the error a place, unless it has one.
    pub(super) fn or_at(mut self, place: &Place, path: &Path<'_>) -> Self {
        self.place
            .get_or_insert_with(|| (place.clone(), path.to_string()));
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            reason: message.to_string(),
            hint: None,
            place: None,
            missing: None,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::custom(format!("the key {field:?} is missing"))
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Self::custom(format!(
            "unknown value {variant:?}, expected one of {}",
            expected.join(", ")
        ));
        error.hint = hints::for_word(variant, expected)
            .or_else(|| did_you_mean(variant, expected.iter().copied()));
        error
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Self::custom(format!("unknown key {field:?}"));
        error.hint = did_you_mean(field, expected.iter().copied())
            .or_else(|| Some(format!("known keys: {}", expected.join(", "))));
        error
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("{expected} is expected here, not {unexpected}"))
    }
}

/// What other products call a setting, in lower case, and its name here.
const ELSEWHERE: [(&str, &str); 10] = [
    ("keepaliverequests", "maxRequestsPerConnection"),
    ("keepalivetime", "maxConnectionAge"),
    ("limitconn", "maxConnectionsPerAddress"),
    ("limitconnections", "maxConnectionsPerAddress"),
    ("limitrate", "responseBandwidth"),
    ("maxconnectionduration", "maxConnectionAge"),
    ("maxconnectionsperip", "maxConnectionsPerAddress"),
    ("maxkeepaliverequests", "maxRequestsPerConnection"),
    ("minrequestbodydatarate", "minBodyRate"),
    // `auth-tls-verify-client: "on"`.
    ("on", "required"),
];

/// Proposes the known word nearest to an unknown one.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|known| format!("did you mean {known:?}?"))
}

/// The known word nearest to an unknown one, or what that is called here.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(theirs, _)| *theirs == lower);
    let known: Vec<&str> = known.into_iter().collect();
    if let Some((_, ours)) = elsewhere
        && let Some(ours) = known.iter().find(|known| *known == ours)
    {
        return Some(ours);
    }
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3 + 1)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Bytes of a word that may be a slip of the pen.
const MAX_WORD: usize = 64;

/// How many letters two words differ by. One that is no slip differs by all: whoever writes it may write
/// a million letters, and each is compared with each of what is known.
pub(super) fn distance(word: &str, known: &str) -> usize {
    if word.len() > MAX_WORD {
        return usize::MAX;
    }
    strsim::damerau_levenshtein(&word.to_lowercase(), &known.to_lowercase())
}
