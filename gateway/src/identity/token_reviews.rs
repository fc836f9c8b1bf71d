//! Tokens of ServiceAccounts, verified by the API server (TokenReview).
//!
//! ```text
//! token -> hash -> remembered? -> what was said, for some seconds
//!             \--> claims, unverified: for us, now? -> (one question a token, few at once) -> answer
//! ```
//!
//! Nothing here knows of Kubernetes: a [`ReviewTokens`] asks. An answer that is not had is no
//! answer, and nobody is let in by it.

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use futures_util::future::BoxFuture;
use portcullis_config::{
    egress::{ReviewedToken, TokenError, TokenSettings},
    model::TokenReview,
};
use quick_cache::sync::Cache;
use tokio::sync::{OnceCell, Semaphore};

use super::{
    hash_key::HashKey,
    token_parts::unverified_claims,
    verified::{Verified, VerifiedBy},
};
use crate::{
    telemetry::{Metrics, Seldom},
    within::within,
};

/// Asks an API server about tokens.
pub trait ReviewTokens: fmt::Debug + Send + Sync {
    /// Asks whether a token is good for an audience. The one who asks sets a time to it.
    ///
    /// # Errors
    /// Why there is no answer, for people; never with the token in it.
    fn review<'a>(
        &'a self,
        token: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<ReviewedToken, String>>;
}

/// Why the bearer of a token is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The token is not good.
    #[error(transparent)]
    Bad(#[from] TokenError),
    /// Nobody could say whether it is.
    #[error("the API server could not be asked")]
    NotAsked,
}

type Outcome = Result<Arc<Verified>, Unverified>;

/// A question that is under way, for all who wait for its answer.
type Question = Arc<OnceCell<Outcome>>;

type Questions = Mutex<HashMap<[u8; 32], Question>>;

/// Verifies tokens by asking, and remembers what was said.
pub struct TokenReviews {
    settings: TokenSettings,
    review: TokenReview,
    key: HashKey,
    /// Good tokens by their keyed hash, and until when that counts. One whose time is over stays,
    /// for as long as there is room: it is known then that it was good.
    good: Cache<[u8; 32], (Instant, Arc<Verified>)>,
    /// Others. They have room of their own: who makes them up makes nobody else forgotten.
    refused: Cache<[u8; 32], (Instant, TokenError)>,
    questions: Questions,
    turns: Semaphore,
    /// Turns of tokens that were not good before, so that these never wait for a flood of those.
    turns_of_strangers: Semaphore,
    failures: Seldom,
}

impl TokenReviews {
    /// Makes one that remembers nothing yet.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn new(settings: TokenSettings, review: TokenReview) -> Result<Self, String> {
        let (entries, turns) = (
            review.cache_entries as usize,
            review.max_concurrent as usize,
        );
        Ok(Self {
            settings,
            review,
            key: HashKey::random()?,
            good: Cache::new(entries),
            refused: Cache::new(entries),
            questions: Questions::default(),
            turns: Semaphore::new(turns),
            turns_of_strangers: Semaphore::new(turns.div_ceil(2)),
            failures: Seldom::default(),
        })
    }

    /// Whether it is of these settings.
    pub(crate) fn is_of(&self, settings: &TokenSettings, review: &TokenReview) -> bool {
        self.settings == *settings && self.review == *review
    }

    /// Whether what a token was good by still holds.
    pub fn trusts(&self, verified: &Verified) -> bool {
        verified.by == VerifiedBy::Review && verified.is_for(&self.settings)
    }

    /// Tells whose a token is, from what is remembered or by asking.
    ///
    /// # Errors
    /// Why it is not good, or that nobody could say in time.
    pub async fn verify(
        &self,
        token: &[u8],
        now: SystemTime,
        reviewer: &dyn ReviewTokens,
        metrics: &Metrics,
    ) -> Result<Arc<Verified>, Unverified> {
        let hash = self.key.hash([token]);
        if let Some(known) = self.recall(&hash, now) {
            return known;
        }
        // What needs no question is none: garbage is no load on the API server.
        let (identity, validity) = unverified_claims(token)?.judge(&self.settings, now)?;
        let text = std::str::from_utf8(token).map_err(|_| TokenError::Malformed)?;
        let claimed = Arc::new(Verified {
            identity,
            validity,
            by: VerifiedBy::Review,
            settings: self.settings.clone(),
        });
        let asked = async {
            let question = Joined::new(&self.questions, hash);
            let ask = || self.ask(text, hash, claimed, now, reviewer, metrics);
            question.cell.get_or_init(ask).await.clone()
        };
        let limit = self.review.timeout;
        within(limit, pin!(asked)).await.unwrap_or_else(|| {
            metrics.egress_token_review("timeout", None);
            self.failed("no answer in time");
            Err(Unverified::NotAsked)
        })
    }

    /// What is remembered of a token, where that still counts.
    fn recall(&self, hash: &[u8; 32], now: SystemTime) -> Option<Outcome> {
        let at = Instant::now();
        if let Some((until, verified)) = self.good.get(hash)
            && at < until
            // By the clock of here alone: what it may be off by is for the API server to judge.
            && now < verified.validity.until()
        {
            return Some(Ok(verified));
        }
        let (until, error) = self.refused.get(hash)?;
        (at < until).then_some(Err(error.into()))
    }

    async fn ask(
        &self,
        token: &str,
        hash: [u8; 32],
        claimed: Arc<Verified>,
        now: SystemTime,
        reviewer: &dyn ReviewTokens,
        metrics: &Metrics,
    ) -> Outcome {
        // Another may have asked since it was looked for.
        if let Some(known) = self.recall(&hash, now) {
            return known;
        }
        let was_good = self.good.get(&hash).is_some();
        let of_strangers = match was_good {
            true => None,
            false => Some(self.turns_of_strangers.acquire().await),
        };
        let turn = self.turns.acquire().await;
        // What is said may be as old as the question.
        let began = Instant::now();
        let reviewed = reviewer.review(token, &self.settings.audience).await;
        drop((turn, of_strangers));
        let took = Some(began.elapsed());
        let judged = match reviewed {
            Ok(reviewed) => reviewed
                .judge(&claimed.identity, &self.settings.audience)
                .inspect_err(|error| {
                    let said: String = reviewed.error.chars().take(200).collect();
                    tracing::debug!(%error, said, "the API server does not take a token for good");
                }),
            Err(reason) => {
                metrics.egress_token_review("error", took);
                self.failed(&reason);
                return Err(Unverified::NotAsked);
            }
        };
        match judged {
            Ok(()) => {
                metrics.egress_token_review("good", took);
                let until = began.checked_add(self.review.cache_time);
                self.refused.remove(&hash);
                self.good
                    .insert(hash, (until.unwrap_or(began), Arc::clone(&claimed)));
                Ok(claimed)
            }
            Err(error) => {
                metrics.egress_token_review("refused", took);
                let until = began.checked_add(self.review.refused_cache_time);
                self.good.remove(&hash);
                self.refused.insert(hash, (until.unwrap_or(began), error));
                Err(error.into())
            }
        }
    }

    /// Tells of a failure, seldom.
    fn failed(&self, reason: &str) {
        if let Some(untold) = self.failures.note() {
            tracing::warn!(
                reason,
                untold,
                "the API server was not asked about a token, and its client is refused"
            );
        }
    }
}

impl fmt::Debug for TokenReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReviews")
            .field("settings", &self.settings)
            .field("review", &self.review)
            .finish_non_exhaustive()
    }
}

/// A question that somebody waits for. Where the one who asks goes away, the next one asks.
struct Joined<'a> {
    questions: &'a Questions,
    hash: [u8; 32],
    cell: Question,
}

impl<'a> Joined<'a> {
    fn new(questions: &'a Questions, hash: [u8; 32]) -> Self {
        let cell = Arc::clone(lock(questions).entry(hash).or_default());
        Self {
            questions,
            hash,
            cell,
        }
    }
}

impl Drop for Joined<'_> {
    /// Who comes later asks anew; and where nobody waits nothing is kept.
    fn drop(&mut self) {
        let mut questions = lock(self.questions);
        let cell = std::mem::take(&mut self.cell);
        let is_done = cell.initialized();
        let Some(known) = questions.get(&self.hash) else {
            return;
        };
        if !Arc::ptr_eq(known, &cell) {
            return;
        }
        drop(cell);
        if is_done || Arc::strong_count(known) == 1 {
            questions.remove(&self.hash);
        }
    }
}

fn lock(questions: &Questions) -> MutexGuard<'_, HashMap<[u8; 32], Question>> {
    questions.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
