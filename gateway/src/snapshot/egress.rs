//! The egress section of a snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use portcullis_config::{
    egress::{Authority, EgressRule, Injection, UpstreamProxy},
    model::{self, EgressInspection, EgressTokens, TokensVerifiedBy},
    problem::Severity,
};

use http::HeaderValue;

use super::{
    CompiledUpstreamProxy, CompiledWaf, DestinationTls, Reads, Snapshot, egress_upstream,
    reads::content_hash, upstream_tls,
};
use crate::{
    egress::SigningAuthority,
    identity::{TokenReviews, TokenVerifier, Tokens},
};

/// Longest credential.
const MAX_CREDENTIAL: usize = 16 << 10;

/// The egress section, and what verifies who its clients are.
#[derive(Debug)]
pub struct CompiledEgress {
    settings: model::Egress,
    /// What verifies tokens, where clients may show some.
    pub tokens: Option<Tokens>,
    /// What looks into TLS, where that is wanted.
    pub inspection: Option<Inspection>,
    /// TLS to destinations of plain requests, where an entry sends some over it.
    pub origination: Option<DestinationTls>,
    /// Proxies that destinations are reached through, in the order of the settings.
    pub upstream_proxies: Vec<Arc<CompiledUpstreamProxy>>,
    /// The WAF profiles that entries name.
    pub wafs: BTreeMap<String, Arc<CompiledWaf>>,
    /// Credentials that requests are given, by their file and what stands before them.
    credentials: BTreeMap<(PathBuf, String), HeaderValue>,
}

/// What looks into TLS.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Signs the certificates that clients are shown.
    pub authority: Arc<SigningAuthority>,
    /// TLS to destinations.
    pub destinations: DestinationTls,
}

impl Deref for CompiledEgress {
    type Target = model::Egress;

    fn deref(&self) -> &model::Egress {
        &self.settings
    }
}

impl CompiledEgress {
    /// One that verifies no tokens and looks into nothing.
    #[cfg(test)]
    pub(crate) fn of(settings: model::Egress) -> Self {
        Self {
            settings,
            tokens: None,
            inspection: None,
            origination: None,
            upstream_proxies: Vec::new(),
            wafs: BTreeMap::new(),
            credentials: BTreeMap::new(),
        }
    }

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
        let inspection = match &settings.inspection {
            None => None,
            Some(wanted) => match inspection(wanted, before, reads) {
                Ok(inspection) => {
                    if let Some(reason) = inspection.authority.untimely(SystemTime::now()) {
                        let place = "egress.inspection.certificate".to_owned();
                        tell(Severity::Warning, place, reason);
                    }
                    Some(inspection)
                }
                Err((field, reason)) => {
                    let place = format!("egress.inspection.{field}");
                    tell(Severity::Error, place, reason);
                    return None;
                }
            },
        };
        let running = before.and_then(|before| before.egress.as_deref());
        let trusting = running.and_then(|running| running.origination.as_ref());
        let trust = settings.tls_origination.trust.as_deref();
        let originates = rules(settings).any(|(_, rule)| rule.originates_tls);
        let origination = originates
            .then(|| DestinationTls::compile(trust, trusting, reads))
            .transpose();
        let origination = match origination {
            Ok(origination) => origination,
            Err((field, reason)) => {
                let place = format!("egress.tlsOrigination.{field}");
                tell(Severity::Error, place, reason);
                return None;
            }
        };
        let credentials = credentials(settings, running, reads, tell);
        let upstream_proxies = egress_upstream::compile(&settings.upstream_proxies, reads, tell)?;
        Some(Self {
            settings: settings.clone(),
            tokens,
            inspection,
            origination,
            upstream_proxies,
            wafs: BTreeMap::new(),
            credentials,
        })
    }

    /// With the WAF profiles that its entries name, as `find` has them.
    pub(super) fn with_wafs(mut self, find: impl Fn(&str) -> Option<CompiledWaf>) -> Self {
        let named = entries(&self.settings).filter_map(|(_, wanted)| wanted.waf.clone());
        let names: BTreeSet<String> = named.collect();
        let found = names
            .into_iter()
            .filter_map(|name| Some((find(&name)?, name)));
        self.wafs = found.map(|(waf, name)| (name, Arc::new(waf))).collect();
        self
    }

    /// The proxy that takes a destination, before its name is looked up.
    pub fn upstream_proxy(&self, authority: &Authority) -> Option<&Arc<CompiledUpstreamProxy>> {
        let found = UpstreamProxy::of(&self.settings.upstream_proxies, authority)?;
        let mut made = self.upstream_proxies.iter();
        made.find(|made| made.name == found.name)
    }

    /// A credential, which no log shows.
    pub fn credential(&self, injection: &Injection) -> Option<&HeaderValue> {
        let key = (injection.value.clone(), injection.prefix.clone());
        self.credentials.get(&key)
    }
}

/// What requests are looked into for, each with the place of its entry in the document.
fn entries(
    settings: &model::Egress,
) -> impl Iterator<
    Item = (
        impl Fn() -> String,
        &Arc<portcullis_config::egress::Inspection>,
    ),
> {
    rules(settings).filter_map(|(place, rule)| Some((place, rule.inspection.as_ref()?)))
}

/// The entries that allow something or leave it to policies, each with its place in the document.
fn rules(settings: &model::Egress) -> impl Iterator<Item = (impl Fn() -> String, &EgressRule)> {
    let lists = [
        ("clusterPolicies", &settings.cluster_policies),
        ("policies", &settings.policies),
    ];
    lists.into_iter().flat_map(|(list, policies)| {
        policies.iter().enumerate().flat_map(move |(at, policy)| {
            let left = policy.delegate.as_ref();
            let left = left.and_then(|delegate| delegate.allow.as_ref());
            let left = left.into_iter().map(|rules| ("delegate.allow", rules));
            [("allow", &policy.allow)]
                .into_iter()
                .chain(left)
                .flat_map(move |(field, rules)| {
                    rules.iter().enumerate().map(move |(entry, rule)| {
                        let place = move || format!("egress.{list}[{at}].{field}[{entry}]");
                        (place, rule)
                    })
                })
        })
    })
}

/// Reads the credentials, each a line that a header may have.
///
/// One that is not good stops nobody else: requests that should have it go on with the one that
/// they had, and are refused where there was none.
fn credentials(
    settings: &model::Egress,
    running: Option<&CompiledEgress>,
    reads: &Reads,
    tell: &mut impl FnMut(Severity, String, String),
) -> BTreeMap<(PathBuf, String), HeaderValue> {
    let mut credentials = BTreeMap::new();
    for (place, wanted) in entries(settings) {
        let Some(injection) = &wanted.inject else {
            continue;
        };
        let bytes = reads.read(&injection.value);
        let read = bytes.and_then(|bytes| credential(injection, &bytes));
        let value = read.or_else(|reason| {
            let known = running.and_then(|running| running.credential(injection));
            let then = match known {
                Some(_) => "requests go on with the one that was there",
                None => "requests that should have it are refused",
            };
            let place = format!("{}.inject.value", place());
            tell(Severity::Warning, place, format!("{reason}: {then}"));
            known.cloned().ok_or(())
        });
        if let Ok(value) = value {
            let key = (injection.value.clone(), injection.prefix.clone());
            credentials.insert(key, value);
        }
    }
    credentials
}

/// The reason never has what is in the file.
fn credential(injection: &Injection, bytes: &[u8]) -> Result<HeaderValue, String> {
    let bad = |reason: &str| Err(format!("{}: {reason}", injection.value.display()));
    let line = bytes.trim_ascii();
    if line.is_empty() {
        return bad("holds no credential");
    }
    if line.len() > MAX_CREDENTIAL {
        return bad("larger than a header may be, 16 KiB");
    }
    let value = [injection.prefix.as_bytes(), line].concat();
    match HeaderValue::from_bytes(&value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Ok(value)
        }
        Err(_) => bad("not one line of text: no header can have it"),
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
    let signing = running.map(|running| &running.authority);
    let authority = match signing.filter(|running| running.is_of(wanted, hash)) {
        Some(running) => Arc::clone(running),
        None => {
            let made = SigningAuthority::new(wanted, (&certificate, &key), hash)?;
            // A good one goes on. Without one nothing is looked into, and all else is served.
            let now = SystemTime::now();
            let is_good_one_lost = signing.is_some_and(|running| running.untimely(now).is_none());
            if let Some(reason) = made.untimely(now).filter(|_| is_good_one_lost) {
                return Err(("certificate", reason));
            }
            Arc::new(made)
        }
    };
    let trusting = running.map(|running| &running.destinations);
    let destinations = DestinationTls::compile(wanted.trust.as_deref(), trusting, reads)?;
    Ok(Inspection {
        authority,
        destinations,
    })
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
