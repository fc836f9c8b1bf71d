//! Who the clients of the egress proxy are, and which of them a policy is about.

use std::time::Duration;

use super::{egress_certificate, report::Report, text, token_review::token_review};
use crate::{
    document,
    egress::{ServiceAccounts, Subject, Subjects, TokenSettings},
    model::{EgressIdentity, EgressIdentityLevel, EgressProtocol, EgressTokens, TokensVerifiedBy},
};

const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(10);
/// A token is good for ten minutes at least: half of that makes no old one new.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);

const DEFAULT_MAX_STALE: Duration = Duration::from_secs(600);

pub(super) fn identity(
    section: &document::Egress,
    report: &mut Report<'_>,
) -> Option<EgressIdentity> {
    let wanted = section.identity.as_ref()?;
    let level = wanted.level.unwrap_or_default();
    let needs_tokens = matches!(
        level,
        EgressIdentityLevel::Required | EgressIdentityLevel::BindToAddress
    );
    if needs_tokens {
        for (index, listener) in section.listeners.iter().enumerate() {
            let certified = level == EgressIdentityLevel::Required
                && egress_certificate::is_asked_for(listener);
            if listener.protocol == Some(EgressProtocol::Socks5) && !certified {
                report.warn_hint(
                    format!("egress.listeners[{index}].protocol"),
                    "every client of this listener is refused: SOCKS5 carries no token, and one is required",
                    "`egress.identity.level: address` or `none` lets clients without a token be known by their addresses",
                );
            }
        }
    }
    let needs_pods = matches!(
        level,
        EgressIdentityLevel::Address | EgressIdentityLevel::BindToAddress
    );
    if needs_pods && wanted.pods.is_none() {
        report.error_hint(
            "egress.identity.level",
            "whose address it is that a client has is not known without `pods`",
            "add `pods: {}` under `egress.identity`; the gateway then watches the pods of its cluster",
        );
    }
    let has_tokens = wanted.service_account_tokens.is_some();
    if !has_tokens && wanted.pods.is_none() && !needs_pods {
        report.error_hint(
            "egress.identity",
            "nothing says how tokens are verified",
            "add `serviceAccountTokens`, or `level: address` and `pods` for addresses alone",
        );
    } else if !has_tokens && needs_tokens {
        report.error(
            "egress.identity.serviceAccountTokens",
            "a token is required, and nothing says how it is verified",
        );
    }
    let tokens = wanted.service_account_tokens.as_ref();
    let max_stale = wanted.pods.as_ref().map(|pods| {
        pods.max_stale
            .map_or(DEFAULT_MAX_STALE, |max_stale| max_stale.0)
    });
    if max_stale.is_some_and(|max_stale| max_stale.is_zero()) {
        report.error(
            "egress.identity.pods.maxStale",
            "maxStale must be more than 0: what is known is never of this very moment",
        );
    }
    Some(EgressIdentity {
        level,
        tokens: tokens.map(|tokens| self::tokens(tokens, report)),
        pods_max_stale: max_stale,
    })
}

fn tokens(tokens: &document::ServiceAccountTokens, report: &mut Report<'_>) -> EgressTokens {
    let path = "egress.identity.serviceAccountTokens";
    let verified_by = verified_by(path, tokens, report);
    let issuer = tokens.issuer.as_ref().map(|issuer| ("issuer", issuer));
    for (field, text) in issuer.into_iter().chain([("audience", &tokens.audience)]) {
        if text.is_empty() || text.trim() != text {
            report.error(
                format!("{path}.{field}"),
                format!("{text:?} is in no token: it is empty, or has blanks around it"),
            );
        }
    }
    // The usual audiences of the API server: its issuer, and its Service.
    if tokens.issuer.as_ref() == Some(&tokens.audience)
        || tokens
            .audience
            .starts_with("https://kubernetes.default.svc")
    {
        report.warn_hint(
            format!("{path}.audience"),
            "tokens for the API server may have this audience: whoever sees one here can use it there",
            "name an audience of its own, such as `portcullis`, in the projected volume and here",
        );
    }
    let clock_skew = tokens.clock_skew.map_or(DEFAULT_CLOCK_SKEW, |skew| skew.0);
    if clock_skew > MAX_CLOCK_SKEW {
        report.error(
            format!("{path}.clockSkew"),
            "clockSkew is at most 5m: an expired token is good for so long",
        );
    }
    EgressTokens {
        verified_by,
        settings: TokenSettings {
            issuer: tokens.issuer.clone(),
            audience: tokens.audience.clone(),
            clock_skew,
        },
    }
}

/// Who says whether a token is good: one of two, and nobody chooses between them later.
fn verified_by(
    path: &str,
    tokens: &document::ServiceAccountTokens,
    report: &mut Report<'_>,
) -> TokensVerifiedBy {
    let place = format!("{path}.jwks");
    if let Some(review) = &tokens.token_review {
        if tokens.jwks.is_some() {
            report.error_hint(
                &place,
                "with `tokenReview` the API server says which tokens are good, and no keys are read",
                "remove `jwks`, or `tokenReview` where nobody is to be asked",
            );
        }
        let path = format!("{path}.tokenReview");
        return TokensVerifiedBy::Review(token_review(&path, review, report));
    }
    let jwks = tokens.jwks.clone().unwrap_or_default();
    if jwks.is_empty() {
        report.error_hint(
            &place,
            "a file is missing",
            "write one with `kubectl get --raw /openid/v1/jwks`; or set `tokenReview` to ask the API server",
        );
    }
    if tokens.issuer.is_none() {
        report.error_hint(
            format!("{path}.issuer"),
            "without an issuer the token of whoever signs with these keys would be good",
            "`kubectl get --raw /.well-known/openid-configuration` says it",
        );
    }
    TokensVerifiedBy::Keys(report.origins().resolve(&place, &jwks))
}

/// The clients of a policy.
pub(super) fn subjects(
    path: &str,
    wanted: &[document::EgressSubject],
    section: &document::Egress,
    report: &mut Report<'_>,
) -> Subjects {
    if wanted.is_empty() {
        report.error_hint(
            path,
            "a policy without subjects selects nobody",
            "name addresses, namespaces or ServiceAccounts of clients",
        );
    }
    let mut subjects = Subjects::default();
    for (index, subject) in wanted.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let place = format!("{path}.addresses");
        if subject.service_account.is_some() && subject.namespace.is_none() {
            report.error_hint(
                format!("{path}.serviceAccount"),
                "a ServiceAccount without its namespace may be anybody's",
                "name its `namespace` too",
            );
        } else if *subject == document::EgressSubject::default() {
            report.error(
                &path,
                "a subject without addresses, a namespace or a certificate selects nobody",
            );
        }
        if subject.addresses.as_ref().is_some_and(Vec::is_empty) {
            report.error(&place, "a list without addresses selects nobody");
        }
        let identity = section.identity.as_ref();
        let pods = identity.and_then(|identity| identity.pods.as_ref());
        if !subject.pod_labels.is_empty() && subject.namespace.is_none() {
            report.error_hint(
                format!("{path}.podLabels"),
                "labels without their namespace may be anybody's",
                "name its `namespace` too",
            );
        } else if !subject.pod_labels.is_empty() && pods.is_none() {
            report.error_hint(
                format!("{path}.podLabels"),
                "they select nobody: without `egress.identity.pods` no client has labels",
                "add `pods: {}` under `egress.identity`",
            );
        }
        if identity.is_none() && subject.namespace.is_some() {
            report.error_hint(
                format!("{path}.namespace"),
                "it selects nobody: without `egress.identity` no client has a namespace",
                "say under `egress.identity` how tokens are verified",
            );
        }
        let addresses = subject.addresses.as_ref();
        let addresses = addresses.map(|addresses| text::networks(&place, addresses, report));
        subjects.add(Subject {
            accounts: accounts(&path, subject, report),
            certificates: egress_certificate::certificates(&path, subject, section, report),
            addresses,
        });
    }
    subjects
}

fn accounts(
    path: &str,
    subject: &document::EgressSubject,
    report: &mut Report<'_>,
) -> Option<ServiceAccounts> {
    let namespace = subject.namespace.as_ref()?;
    if !is_label(namespace, 63) {
        report.error(
            format!("{path}.namespace"),
            format!("{namespace:?} is no name of a namespace: a-z, 0-9 and `-`, at most 63"),
        );
    }
    let name = subject.service_account.as_ref();
    if let Some(name) = name
        && !is_subdomain(name)
    {
        report.error(
            format!("{path}.serviceAccount"),
            format!(
                "{name:?} is no name of a ServiceAccount: a-z, 0-9, `-` and `.`, at most 253; \
                 its namespace stands in `namespace`"
            ),
        );
    }
    for (key, value) in &subject.pod_labels {
        let (prefix, name) = match key.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, key.as_str()),
        };
        let has_prefix = prefix.is_none_or(is_subdomain);
        if !has_prefix || !is_word(name) || !(value.is_empty() || is_word(value)) {
            report.error_hint(
                format!("{path}.podLabels"),
                format!("no pod has the label {key:?} with the value {value:?}"),
                "a key is `NAME` or `PREFIX/NAME`; names and values are letters, digits, `-`, `_` and `.`, at most 63",
            );
        }
    }
    Some(ServiceAccounts {
        namespace: namespace.clone(),
        name: name.cloned(),
        pod_labels: subject.pod_labels.clone(),
    })
}

/// A name of labels with dots between them (RFC 1123), as objects and prefixes have it.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_label(label, 253))
}

/// What labels of objects have in their keys and values.
fn is_word(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_inner)
}

/// A label as the names of objects have it (RFC 1123), of so many characters.
fn is_label(text: &str, longest: usize) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=longest).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
