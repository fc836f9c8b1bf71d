//! The egress section of a snapshot.

use std::{ops::Deref, sync::Arc};

use portcullis_config::{
    model::{self, EgressInspection, EgressTokens},
    problem::Severity,
};

use rustls::ClientConfig;

use super::{Reads, Snapshot, reads::content_hash, upstream_tls};
use crate::{egress::SigningAuthority, identity::TokenVerifier};

/// The egress section, and what verifies who its clients are.
#[derive(Debug)]
pub struct CompiledEgress {
    settings: model::Egress,
    /// What verifies tokens, where clients may show some.
    pub tokens: Option<Arc<TokenVerifier>>,
    /// What looks into TLS, where that is wanted.
    pub inspection: Option<Inspection>,
}

/// What looks into TLS.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Signs the certificates that clients are shown.
    pub authority: Arc<SigningAuthority>,
    /// TLS to destinations, without protocols and sessions.
    pub client: Arc<ClientConfig>,
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
            Some(tokens) => match verifier(tokens, before, reads) {
                Ok(verifier) => {
                    for reason in &verifier.left_out {
                        tell(Severity::Warning, place(), named(tokens, reason));
                    }
                    Some(verifier)
                }
                Err(reasons) => {
                    for reason in reasons {
                        tell(Severity::Error, place(), reason);
                    }
                    return None;
                }
            },
        };
        let inspection = match &settings.inspection {
            None => None,
            Some(wanted) => match inspection(wanted, before, reads) {
                Ok(inspection) => Some(inspection),
                Err((field, reason)) => {
                    let place = format!("egress.inspection.{field}");
                    tell(Severity::Error, place, reason);
                    return None;
                }
            },
        };
        Some(Self {
            settings: settings.clone(),
            tokens,
            inspection,
        })
    }
}

fn inspection(
    wanted: &EgressInspection,
    before: Option<&Snapshot>,
    reads: &Reads,
) -> Result<Inspection, upstream_tls::Broken> {
    let certificate = reads
        .read(&wanted.certificate)
        .map_err(|why| ("certificate", why))?;
    let key = reads.read(&wanted.key).map_err(|why| ("key", why))?;
    let mut made_of = content_hash(&certificate).to_vec();
    made_of.extend(content_hash(&key));
    let hash = content_hash(&made_of);
    let running = before.and_then(|before| before.egress.as_ref()?.inspection.as_ref());
    let running = running.filter(|running| running.authority.is_of(wanted, hash));
    let authority = match running {
        Some(running) => Arc::clone(&running.authority),
        None => Arc::new(SigningAuthority::new(wanted, (&certificate, &key), hash)?),
    };
    let client = upstream_tls::to_anybody(wanted.trust.as_deref(), reads)?;
    Ok(Inspection { authority, client })
}

fn place() -> String {
    "egress.identity.serviceAccountTokens.jwks".into()
}

fn named(tokens: &EgressTokens, reason: &str) -> String {
    format!("{}: {reason}", tokens.jwks.display())
}

fn verifier(
    tokens: &EgressTokens,
    before: Option<&Snapshot>,
    reads: &Reads,
) -> Result<Arc<TokenVerifier>, Vec<String>> {
    let text = reads.read_text(&tokens.jwks).map_err(|error| vec![error])?;
    let file = content_hash(text.as_bytes());
    let running = before.and_then(|before| before.egress.as_ref()?.tokens.as_ref());
    if let Some(running) = running.filter(|running| running.is_of(&tokens.settings, file)) {
        return Ok(Arc::clone(running));
    }
    let made = TokenVerifier::new(tokens.settings.clone(), file, &text);
    made.map(Arc::new).map_err(|reasons| {
        let named = |reason: &String| named(tokens, reason);
        reasons.iter().map(named).collect()
    })
}
