//! The egress section of a snapshot.

use std::{ops::Deref, sync::Arc};

use portcullis_config::{
    model::{self, EgressTokens, TokensVerifiedBy},
    problem::Severity,
};

use super::{Reads, Snapshot, reads::content_hash};
use crate::identity::{TokenReviews, TokenVerifier, Tokens};

/// The egress section, and what verifies who its clients are.
#[derive(Debug)]
pub struct CompiledEgress {
    settings: model::Egress,
    /// What verifies tokens, where clients may show some.
    pub tokens: Option<Tokens>,
}

impl Deref for CompiledEgress {
    type Target = model::Egress;

    fn deref(&self) -> &model::Egress {
        &self.settings
    }
}

impl CompiledEgress {
    /// Reads the keys; what verifies with the same ones already is kept, with what it remembers.
    pub(super) fn compile(
        settings: &model::Egress,
        before: Option<&Snapshot>,
        reads: &Reads,
        tell: &mut impl FnMut(Severity, String, String),
    ) -> Option<Self> {
        let identity = settings.identity.as_ref();
        let tokens = match identity.and_then(|identity| identity.tokens.as_ref()) {
            None => None,
            Some(tokens) => match compile_tokens(tokens, before, reads) {
                Ok(compiled) => {
                    if let Tokens::Keys(verifier) = &compiled {
                        for reason in &verifier.left_out {
                            tell(Severity::Warning, place(), named(tokens, reason));
                        }
                    }
                    Some(compiled)
                }
                Err(reasons) => {
                    for reason in reasons {
                        tell(Severity::Error, place(), reason);
                    }
                    return None;
                }
            },
        };
        Some(Self {
            settings: settings.clone(),
            tokens,
        })
    }
}

fn place() -> String {
    "egress.identity.serviceAccountTokens.jwks".into()
}

fn named(tokens: &EgressTokens, reason: &str) -> String {
    match tokens.keys() {
        Some(file) => format!("{}: {reason}", file.display()),
        None => reason.to_owned(),
    }
}

fn compile_tokens(
    tokens: &EgressTokens,
    before: Option<&Snapshot>,
    reads: &Reads,
) -> Result<Tokens, Vec<String>> {
    let settings = &tokens.settings;
    let running = before.and_then(|before| before.egress.as_ref()?.tokens.as_ref());
    let file = match &tokens.verified_by {
        TokensVerifiedBy::Keys(file) => file,
        TokensVerifiedBy::Review(review) => {
            return match running {
                Some(Tokens::Review(running)) if running.is_of(settings, review) => {
                    Ok(Tokens::Review(Arc::clone(running)))
                }
                _ => TokenReviews::new(settings.clone(), *review)
                    .map(|made| Tokens::Review(Arc::new(made)))
                    .map_err(|reason| vec![reason]),
            };
        }
    };
    let text = reads.read_text(file).map_err(|error| vec![error])?;
    let hash = content_hash(text.as_bytes());
    if let Some(Tokens::Keys(running)) = running
        && running.is_of(settings, hash)
    {
        return Ok(Tokens::Keys(Arc::clone(running)));
    }
    let made = TokenVerifier::new(settings.clone(), hash, &text);
    made.map(|made| Tokens::Keys(Arc::new(made)))
        .map_err(|reasons| {
            let named = |reason: &String| named(tokens, reason);
            reasons.iter().map(named).collect()
        })
}
