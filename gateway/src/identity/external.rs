//! Answers of a server that was asked about a request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use portcullis_config::model::{AnswerCache, External};
use quick_cache::sync::Cache;

use super::hash_key::HashKey;
use crate::telemetry::Seldom;

/// Bytes of headers up to which an answer is remembered.
const MAX_REMEMBERED: usize = 4096;

/// What a server says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may pass.
    Pass {
        /// What the backend is told, from the answer.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The client's name.
        user: Option<String>,
    },
    /// The client must say who it is (401), in one of these ways.
    Unauthorized(Vec<HeaderValue>),
    /// The client may not (403).
    Forbidden,
    /// It is no answer to that question.
    Unexpected(u16),
}

/// What is asked, as far as an answer may depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// Scheme, host and port that it asks.
    pub origin: &'a str,
    /// Path with query.
    pub path: &'a str,
    /// Address of the client, and what is told of those before it.
    pub client: &'a str,
    /// Fingerprint of the certificate that the client showed; empty where it showed none.
    pub certificate: &'a str,
    /// Headers of the client that are sent.
    pub headers: &'a [(HeaderName, HeaderValue)],
}

/// Asks a server, and remembers what it says where that is wanted.
#[derive(Debug)]
pub struct ExternalCheck {
    remembered: Option<Remembered>,
    /// Lets one failure in a while through to the log.
    pub(crate) failures: Seldom,
}

#[derive(Debug)]
struct Remembered {
    settings: AnswerCache,
    key: HashKey,
    answers: Cache<[u8; 32], (Instant, Arc<Answer>)>,
}

impl Answer {
    /// Reads an answer.
    pub(crate) fn of(status: u16, headers: &HeaderMap, settings: &External) -> Self {
        match status {
            200..300 => {
                let told = |name: &HeaderName| {
                    let values = headers.get_all(name).iter().cloned();
                    values
                        .map(|value| (name.clone(), value))
                        .collect::<Vec<_>>()
                };
                let user = settings
                    .user_header
                    .as_ref()
                    .and_then(|name| headers.get(name));
                Self::Pass {
                    headers: settings.response_headers.iter().flat_map(told).collect(),
                    user: user.map(|user| String::from_utf8_lossy(user.as_bytes()).into_owned()),
                }
            }
            401 => {
                let challenges = headers.get_all(header::WWW_AUTHENTICATE);
                Self::Unauthorized(challenges.iter().cloned().collect())
            }
            403 => Self::Forbidden,
            status => Self::Unexpected(status),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Pass { headers, user } => {
                let size =
                    |(name, value): &(HeaderName, HeaderValue)| name.as_str().len() + value.len();
                headers.iter().map(size).sum::<usize>() + user.as_ref().map_or(0, String::len)
            }
            Self::Unauthorized(challenges) => challenges.iter().map(HeaderValue::len).sum(),
            Self::Forbidden | Self::Unexpected(_) => 0,
        }
    }
}

impl ExternalCheck {
    /// Makes a check that remembers nothing yet.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new(settings: &External) -> Result<Self, String> {
        let remembered = match &settings.cache {
            None => None,
            Some(cache) => Some(Remembered {
                key: HashKey::random()?,
                answers: Cache::new(cache.max_entries.max(1) as usize),
                settings: cache.clone(),
            }),
        };
        Ok(Self {
            remembered,
            failures: Seldom::default(),
        })
    }

    /// Where the answer to a question is remembered; `None` where none is.
    pub(crate) fn place(&self, question: &Question<'_>) -> Option<[u8; 32]> {
        let remembered = self.remembered.as_ref()?;
        let wanted = &remembered.settings.key;
        let mut parts: Vec<&[u8]> = Vec::new();
        for (wanted, part) in [
            (wanted.method, question.method),
            (wanted.host, question.origin),
            (wanted.path, question.path),
            (wanted.client, question.client),
            // Who has another certificate is another, whatever the settings say.
            (true, question.certificate),
        ] {
            parts.push(if wanted { part.as_bytes() } else { b"" });
        }
        match &wanted.headers {
            None => parts.extend(question.headers.iter().flat_map(field)),
            // In the order of the setting: that of the client says nothing.
            Some(names) => {
                for name in names {
                    let same = |field: &&(HeaderName, HeaderValue)| field.0 == name;
                    parts.extend(question.headers.iter().filter(same).flat_map(field));
                }
            }
        }
        Some(remembered.key.hash(parts))
    }

    /// The answer that is remembered in a place, as long as it counts.
    pub(crate) fn recall(&self, place: &[u8; 32]) -> Option<Arc<Answer>> {
        let remembered = self.remembered.as_ref()?;
        let (until, answer) = remembered.answers.get(place)?;
        if until <= Instant::now() {
            remembered.answers.remove(place);
            return None;
        }
        Some(answer)
    }

    /// Remembers an answer, where it is one to be remembered. One that sets cookies
    /// is for one request, and one that says so is too.
    pub(crate) fn remember(&self, place: [u8; 32], answer: &Arc<Answer>, headers: &HeaderMap) {
        let Some(remembered) = &self.remembered else {
            return;
        };
        let time = match **answer {
            Answer::Pass { .. } => remembered.settings.time,
            Answer::Unauthorized(_) => remembered.settings.refused_time,
            Answer::Forbidden | Answer::Unexpected(_) => Duration::ZERO,
        };
        let once = headers.contains_key(header::SET_COOKIE)
            || headers
                .get_all(header::CACHE_CONTROL)
                .iter()
                .any(|line| line.to_str().is_ok_and(says_no_store));
        if time.is_zero() || once || answer.size() > MAX_REMEMBERED {
            return;
        }
        if let Some(until) = Instant::now().checked_add(time) {
            let remembered = &remembered.answers;
            remembered.insert(place, (until, Arc::clone(answer)));
        }
    }
}

fn field((name, value): &(HeaderName, HeaderValue)) -> [&[u8]; 2] {
    [name.as_str().as_bytes(), value.as_bytes()]
}

fn says_no_store(line: &str) -> bool {
    line.split(',')
        .any(|directive| directive.trim().eq_ignore_ascii_case("no-store"))
}

#[cfg(test)]
mod tests;
